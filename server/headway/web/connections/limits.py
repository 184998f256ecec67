"""Limits on connections: their number, in all and for clients without a key, and how long a request's head may take.

aiohttp waits for the rest of a head as long as for the next request. Every open connection costs memory and a
descriptor, long before any limit on requests applies. When all are in use, idle ones are closed to make room for new
ones, the longest idle first (RFC 9112, 9.5: a server may, at any time).
"""

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import Callable, Collection, Mapping
from http import HTTPStatus
from typing import Any

import structlog
from aiohttp import StreamReader, web
from aiohttp.streams import EMPTY_PAYLOAD

from ...loops import Loop, Loops
from ..problems import KINDS, Problem
from ..request_ids import REQUEST_ID, request_id
from ..responses.ready import harden, whole_answer
from .served_requests import handled_by, served_by
from .shares import Shares, newcomers, owned, ticketed

CHECKS_PER_LIMIT = 10
LONGEST_PAUSE_S = 1.0
CLOSED_AT_ONCE = 20
"""A twentieth of the connections is closed at once: a search for each new connection would cost more."""
SEARCH_AGAIN_S = 0.1
LOG_EVERY_S = 10.0
FULL_RETRY_S = 5
OWNER_FULL = "The owner of the key has half of the connections in use, which is the limit."
TICKETS_FULL = "Tickets of this owner have a quarter of the connections in use, which is the limit."
TOO_MUCH = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
MAX_HEAD_BYTES = 64 * 1024
"""Of a head that does not arrive all at once. aiohttp limits lines and their number: 4 MB, kept for ten seconds."""
EARLY_LINGER_S = 2.0
EARLY_LINGER_BYTES = 1024 * 1024
REFUSED_LINGER_BYTES = 64 * 1024
"""How long a client without a key may go on sending a body whose request is answered, and how much of it: less after
a 429 or 503. Receiving a megabyte takes 2 ms.
"""

log = structlog.get_logger(__name__)


class Runner(web.AppRunner):
    """aiohttp's runner, with our own class of connections. Their bodies arrive as sent: see `requests.content`."""

    def __init__(self, app: web.Application, **options: Any) -> None:
        super().__init__(app, auto_decompress=False, **options)

    async def _make_server(self) -> web.Server:
        return _Server(self.app, await super()._make_server())


class _Server(web.Server):
    def __init__(self, app: web.Application, made: web.Server) -> None:
        factory = served_by(app, made.request_factory)
        super().__init__(handled_by(app), request_factory=factory, loop=made._loop, **made._kwargs)  # noqa: SLF001 - all that it was made with
        self._of_app = app[CONNECTIONS]

    def __call__(self) -> web.RequestHandler:
        return Connection(self._of_app, self, loop=self._loop, **self._kwargs)


class Connection(web.RequestHandler):
    """One client's connection, as aiohttp serves it."""

    __slots__ = ("_body", "_connections", "_head_bytes", "_requests_seen", "_unwanted_left", "key_id", "session")

    def __init__(self, connections: "Connections", server: web.Server, **options: Any) -> None:
        super().__init__(server, **options)
        self._connections = connections
        self.key_id: str | None = None
        """The API key that its latest request came with, and the session. The gate says so."""
        self.session: str | None = None
        self._requests_seen = 0
        self._body: StreamReader = EMPTY_PAYLOAD
        self._head_bytes = 0
        """How much has arrived of a head that is not complete."""
        self._unwanted_left: int | None = None

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
        if of_body and self._unwanted_left is not None:
            self._unwanted_left -= len(data)
            if self._unwanted_left < 0:
                self._body.set_exception(ConnectionAbortedError())  # for aiohttp, which waits for more of it
                self.force_close()
                return
        super().data_received(data)
        if self._request_count != self._requests_seen:
            self._requests_seen = self._request_count
            self._unwanted_left = None
            self._body = self._messages[-1][1] if self._messages else EMPTY_PAYLOAD
            if self._head_bytes:
                self._head_bytes = 0
                self._connections.head_came(self)
        elif not (of_body or self._messages) and (self._head_bytes or data.strip(b"\r\n")):
            # RFC 9112, 2.2: empty lines before a head are ignored. A head that arrives together with the previous
            # request is not noticed until more data comes; in the end aiohttp closes it as an idle connection.
            if not self._head_bytes:
                self._connections.head_began(self)
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._connections.head_is_too_large(self)

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Called by aiohttp for every body that was read. Nothing is left unparsed unless reading was paused."""
        if self._reading_paused:
            super().resume_reading(resume_parser)

    @property
    def idle(self) -> bool:
        """Whether it waits for a request: the first, the next, or the rest of its head."""
        # The first bytes may arrive before aiohttp waits for them.
        return not self._messages and (self._waiter is not None or not self._request_count)

    @property
    def idle_until_s(self) -> float:
        """When aiohttp would close it: sorts connections by how long they have been idle."""
        return self._next_keepalive_close_time

    def authenticated(self, owner: str, *, by_ticket: bool = False) -> None:
        """A request on it has come with a valid key, or a ticket of its owner.

        Raises `Problem` if this owner, or all who have tickets of it, have too many connections in use.
        """
        self._connections.authenticated(self, owner, by_ticket=by_ticket)

    def answered_early(self, status: int, *, known: bool) -> None:
        """The request has its response before its body has arrived; aiohttp reads on, so that the client can read it.

        A client without a key gets less of that: it could hold the connection for ten seconds at a time. `known`: the
        request came with a valid key. That decides where a trusted proxy sends requests of many clients.
        """
        if self in self._connections.newcomers or (not known and self._connections.is_of_proxy(self)):
            self._lingering_time = EARLY_LINGER_S
            self._unwanted_left = REFUSED_LINGER_BYTES if status in TOO_MUCH else EARLY_LINGER_BYTES

    def refuse(self, answer: bytes) -> None:
        """Send a last response, if the client still reads, and close."""
        if self.transport is not None:
            self.transport.write(answer)
        self.force_close()

    def cut(self) -> None:
        """Close immediately: nothing more is sent or read."""
        if self.transport is not None:
            self.transport.abort()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Adds the headers of every response: a request that the parser rejects never reaches the application."""
        response = super().handle_error(request, status, exc, message)
        harden(response.headers)
        response.headers[REQUEST_ID] = request_id(request)
        return response


class Connections:
    """The open connections, and the one loop that checks for overdue heads, instead of a timer for each."""

    def __init__(
        self,
        *,
        most: int,
        head_timeout_s: float,
        stall_timeout_s: float,
        address_of: Callable[[str], str | None] | None = None,
    ) -> None:
        """`address_of`: the address that a peer counts as, `None` for a trusted proxy. Without it, no key is needed."""
        self._most = most
        self.newcomers: Shares[Connection] = newcomers(most)
        self._owned: Shares[Connection] = owned(most)
        self._ticketed: Shares[Connection] = ticketed(most)
        self._address_of = address_of
        self._head_timeout_s = head_timeout_s
        self.stall_timeout_ms = int(stall_timeout_s * 1000)
        """How long the kernel waits for a reader to acknowledge data, of downloads as well as streams."""
        self._open: set[Connection] = set()
        self._heads: dict[Connection, float] = {}
        self._searched_s = self._logged_s = float("-inf")

    def __len__(self) -> int:
        return len(self._open)

    def enter(self, connection: Connection) -> None:
        """Register a new connection. If there is no room, the longest idle ones are closed, or it is refused."""
        address = self._address_of_newcomer(connection)
        if address is not None and (found := self.newcomers.to_close(address)):
            self._close(found)
        if len(self._open) >= self._most:
            self._make_room()
        if len(self._open) >= self._most or (address is not None and self.newcomers.is_full_for(address)):
            connection.refuse(_last_answer("too-many-connections", {"Retry-After": str(FULL_RETRY_S)}))
            return
        self._open.add(connection)
        if address is not None:
            self.newcomers.enter(connection, address)

    def _address_of_newcomer(self, connection: Connection) -> str | None:
        """The address that the connection is counted by until it has shown a key, if it is."""
        if self._address_of is None:
            return None
        peer = connection.peername
        return self._address_of(peer[0] if isinstance(peer, tuple) else "")

    def is_of_proxy(self, connection: Connection) -> bool:
        """Whether a trusted proxy opened it, where keys are needed."""
        return self._address_of is not None and self._address_of_newcomer(connection) is None

    def leave(self, connection: Connection) -> None:
        self._open.discard(connection)
        self._heads.pop(connection, None)
        self.newcomers.leave(connection)
        self._owned.leave(connection)
        self._ticketed.leave(connection)

    def authenticated(self, connection: Connection, owner: str, *, by_ticket: bool = False) -> None:
        """Count the connection for this owner, or for the owner's tickets. Without room the longest idle are closed.

        Raises `Problem` if they are all in use; the connection stays what it was, a newcomer for example.
        """
        shares, others = (self._ticketed, self._owned) if by_ticket else (self._owned, self._ticketed)
        if shares.holder(connection) == owner or connection not in self._open:
            return
        if shares.is_full_for(owner):
            self._close(shares.to_close(owner))
            if shares.is_full_for(owner):
                detail = TICKETS_FULL if by_ticket else OWNER_FULL
                raise Problem("too-many-connections", detail, retry_after_s=FULL_RETRY_S)
        self.newcomers.leave(connection)
        others.leave(connection)
        shares.enter(connection, owner)

    def _close(self, connections: Collection[Connection]) -> None:
        for connection in connections:
            self.leave(connection)
            connection.force_close()

    def head_began(self, connection: Connection) -> None:
        self._heads[connection] = time.monotonic()

    def head_came(self, connection: Connection) -> None:
        self._heads.pop(connection, None)

    def head_is_too_large(self, connection: Connection) -> None:
        self.leave(connection)
        detail = f"The head of the request has more than {MAX_HEAD_BYTES:,} bytes."
        connection.refuse(_last_answer("malformed-request", {}, detail))

    def cut(self, ids: Collection[str]) -> None:
        """Cut those whose latest request came with one of these keys or sessions.

        A browser that signs out goes on to use its idle connections, so a session's end leaves those open.
        """
        if ids:
            used = [each for each in self._open if each.key_id in ids or (each.session in ids and not each.idle)]
            for connection in used:
                connection.cut()

    def _make_room(self) -> None:
        """Close some idle connections. If nearly all are busy, the next search is delayed."""
        now_s = time.monotonic()
        if now_s - self._searched_s < SEARCH_AGAIN_S:
            return
        wanted = self._most // CLOSED_AT_ONCE + 1
        idle = sorted((each for each in self._open if each.idle), key=self._expendable)
        chosen = idle[:wanted]
        if len(chosen) < wanted:
            self._searched_s = now_s
        self._close(chosen)
        if now_s - self._logged_s >= LOG_EVERY_S:
            self._logged_s = now_s
            log.warning("all connections are in use", connections=self._most, idle=len(idle), closed=len(chosen))

    def _expendable(self, connection: Connection) -> tuple[bool, float]:
        """Sorts idle connections: first those that have shown no key, then by how long they have been idle."""
        return connection not in self.newcomers, connection.idle_until_s

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
            log.info("connections were closed: the heads of their requests were overdue", connections=len(late))
        return min(LONGEST_PAUSE_S, self._head_timeout_s / CHECKS_PER_LIMIT)


CONNECTIONS = web.AppKey("connections", Connections)


def _last_answer(kind: str, headers: Mapping[str, str], detail: str | None = None) -> bytes:
    """A problem as a whole response, for when there is no request yet."""
    status, title = KINDS[kind]
    problem = {"type": f"/problems/{kind}", "title": title, "status": status, "detail": detail, "instance": None}
    fields = {"Connection": "close", "Cache-Control": "no-store", "Content-Type": "application/problem+json", **headers}
    return whole_answer(status, json.dumps(problem).encode(), fields)
