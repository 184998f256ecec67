"""The connections as such: how many there may be, and how long the head of a request may take to come.

aiohttp waits for the rest of a head as long as for the next request. Who opens connections costs memory and a
descriptor each, long before any limit on requests counts. Where all are in use, those on which nothing happens are
closed for those who want something, the longest idle ones first (RFC 9112, 9.5: a server may, at any time).
"""

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import Collection, Mapping
from typing import Any

import structlog
from aiohttp import StreamReader, web
from aiohttp.streams import EMPTY_PAYLOAD

from ...loops import Loop, Loops
from ...settings import Settings
from ..problems import KINDS
from ..request_ids import REQUEST_ID, request_id
from ..responses.ready import harden, whole_answer

LOOKS_PER_LIMIT = 10
LONGEST_LOOK_S = 1.0
CLOSED_AT_ONCE = 20
"""A twentieth of the connections is closed when there is no room: to look for one each time would cost more."""
LOOK_AGAIN_S = 0.1
SAY_EVERY_S = 10.0
FULL_RETRY_S = 5

log = structlog.get_logger(__name__)


class Runner(web.AppRunner):
    """aiohttp's runner of an application, over connections of ours."""

    async def _make_server(self) -> web.Server:
        return _Server(self.app[CONNECTIONS], await super()._make_server())


class _Server(web.Server):
    def __init__(self, connections: "Connections", made: web.Server) -> None:
        super().__init__(made.request_handler, request_factory=made.request_factory, loop=made._loop, **made._kwargs)  # noqa: SLF001 - all that it was made with
        self._of_us = connections

    def __call__(self) -> web.RequestHandler:
        return Connection(self._of_us, self, loop=self._loop, **self._kwargs)


class Connection(web.RequestHandler):
    """One client's connection, as aiohttp serves it."""

    __slots__ = ("_body", "_connections", "_head_begun", "_requests_seen", "key_id", "session")

    def __init__(self, connections: "Connections", server: web.Server, **options: Any) -> None:
        super().__init__(server, **options)
        self._connections = connections
        self.key_id: str | None = None
        """The API key that its latest request came with, and the session. The gate says so."""
        self.session: str | None = None
        self._requests_seen = 0
        self._body: StreamReader = EMPTY_PAYLOAD
        self._head_begun = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._connections.enter(self)
        sock = transport.get_extra_info("socket")
        if sock is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            with contextlib.suppress(OSError):  # not TCP
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, self._connections.stall_timeout_ms)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._connections.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        of_body = not self._body.is_eof()
        super().data_received(data)
        if self._request_count != self._requests_seen:
            self._requests_seen = self._request_count
            self._body = self._messages[-1][1] if self._messages else EMPTY_PAYLOAD
            if self._head_begun:
                self._head_begun = False
                self._connections.head_came(self)
        elif not (of_body or self._head_begun or self._messages) and data.strip(b"\r\n"):
            # RFC 9112, 2.2: empty lines before a head are nothing. What comes in one piece with the request before is
            # not noticed until more comes; aiohttp closes it in the end, as a connection without a request.
            self._head_begun = True
            self._connections.head_began(self)

    @property
    def idle(self) -> bool:
        """Whether it waits for a request: for the first, for the next, or for the rest of its head."""
        # Its first bytes may come before aiohttp has begun to wait for them.
        return not self._messages and (self._waiter is not None or not self._request_count)

    @property
    def idle_until_s(self) -> float:
        """When aiohttp would close it. So this is in the order in which they became idle."""
        return self._next_keepalive_close_time

    def refuse(self, answer: bytes) -> None:
        """Say so, as far as the client still listens, and close."""
        if self.transport is not None:
            self.transport.write(answer)
        self.force_close()

    def cut(self) -> None:
        """Close at once: not another byte is sent, nor read."""
        if self.transport is not None:
            self.transport.abort()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What the parser refuses has no application yet that would say what every answer carries."""
        response = super().handle_error(request, status, exc, message)
        harden(response.headers)
        response.headers[REQUEST_ID] = request_id(request)
        return response


class Connections:
    """The open connections, and the one loop that looks after those whose head is on its way: no timer for each."""

    def __init__(self, settings: Settings) -> None:
        self._most = settings.max_connections
        self._head_timeout_s = settings.head_timeout_s
        self.stall_timeout_ms = int(settings.stream_stall_timeout_s * 1000)
        """How long the kernel waits for a reader to take what it was sent: a download, not only a stream."""
        self._open: set[Connection] = set()
        self._heads: dict[Connection, float] = {}
        self._in_vain_s = self._said_s = float("-inf")

    def __len__(self) -> int:
        return len(self._open)

    def enter(self, connection: Connection) -> None:
        """A new connection. Without room for it the longest idle ones go, or it is refused."""
        if len(self._open) >= self._most:
            self._make_room()
        if len(self._open) >= self._most:
            connection.refuse(_last_answer("too-many-connections", {"Retry-After": str(FULL_RETRY_S)}))
            return
        self._open.add(connection)

    def leave(self, connection: Connection) -> None:
        self._open.discard(connection)
        self._heads.pop(connection, None)

    def head_began(self, connection: Connection) -> None:
        self._heads[connection] = time.monotonic()

    def head_came(self, connection: Connection) -> None:
        self._heads.pop(connection, None)

    def cut(self, ids: Collection[str]) -> None:
        """Cut those whose latest request came with one of these keys or sessions.

        A browser that signs out goes on to use its idle connections, so a session's end leaves those open.
        """
        if ids:
            used = [each for each in self._open if each.key_id in ids or (each.session in ids and not each.idle)]
            for connection in used:
                connection.cut()

    def _make_room(self) -> None:
        """Close a part of those that are idle. Where nearly all are busy, looking again at once would be in vain."""
        now_s = time.monotonic()
        if now_s - self._in_vain_s < LOOK_AGAIN_S:
            return
        wanted = self._most // CLOSED_AT_ONCE + 1
        idle = sorted((each for each in self._open if each.idle), key=lambda each: each.idle_until_s)
        chosen = idle[:wanted]
        if len(chosen) < wanted:
            self._in_vain_s = now_s
        for connection in chosen:
            self.leave(connection)
            connection.force_close()
        if now_s - self._said_s >= SAY_EVERY_S:
            self._said_s = now_s
            log.warning("all connections are in use", connections=self._most, idle=len(idle), closed=len(chosen))

    def start(self, loops: Loops) -> Loop:
        """Close connections whose request's head is overdue, until the loop is stopped."""
        return loops.start("unfinished-heads", self._close_overdue)

    async def _close_overdue(self) -> float:
        latest_s = time.monotonic() - self._head_timeout_s
        late = [each for each, began_s in self._heads.items() if began_s <= latest_s and each.idle]
        for connection in late:
            self.leave(connection)
            connection.refuse(_last_answer("head-timeout", {}))
        if late:
            log.info("connections were closed, their requests did not come in time", connections=len(late))
        return min(LONGEST_LOOK_S, self._head_timeout_s / LOOKS_PER_LIMIT)


CONNECTIONS = web.AppKey("connections", Connections)


def _last_answer(kind: str, headers: Mapping[str, str]) -> bytes:
    """A problem where there is no request yet that it could be the answer to."""
    status, title = KINDS[kind]
    problem = {"type": f"/problems/{kind}", "title": title, "status": status, "detail": None, "instance": None}
    fields = {"Connection": "close", "Cache-Control": "no-store", "Content-Type": "application/problem+json", **headers}
    return whole_answer(status, json.dumps(problem).encode(), fields)
