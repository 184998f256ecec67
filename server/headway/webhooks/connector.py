"""Connections for outgoing requests: to public addresses only, each for one short response."""

import asyncio
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import structlog
from aiohttp import AddrInfoType, ClientRequest, ClientTimeout, TCPConnector
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

from ..domain.addresses import AllowList

MAX_ANSWER_BYTES = 64 * 1024
"""Of a whole response, headers and interim responses (1xx) included; a server that sends more is cut off."""

RECEIVE_BUFFER_BYTES = 64 * 1024
MAX_LOOKUPS = 256
"""A look-up continues after its attempt has timed out: for 30 s if none of three servers responds (resolv.conf(5)).
64 simultaneous attempts of 15 s each never reach this limit, so hanging names do not block those of other owners.
"""

Lookup = Callable[[str, int], list[tuple[Any, ...]]]
"""From a name and a port to what `socket.getaddrinfo` returns. Blocks; raises `OSError`."""

log = structlog.get_logger(__name__)


class NotPublicError(OSError):
    """The address is not public.

    An `OSError`, so that aiohttp and happy eyeballs treat it as a failed connect. Its text never varies, so that
    several of them are merged into one.
    """

    def __init__(self) -> None:
        super().__init__("the address is not public")


class GuardedConnector(TCPConnector):
    """Connects to addresses that are public or allowed. Every request has a connection of its own."""

    def __init__(self, allowed: AllowList, lookup: Lookup) -> None:
        self._allowed_addresses = allowed
        super().__init__(
            resolver=PublicNames(allowed, lookup),
            use_dns_cache=False,
            socket_factory=self._socket_for,
            force_close=True,
            limit=0,
        )

    async def connect(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: ClientTimeout,  # noqa: ASYNC109 - aiohttp's
    ) -> Connection:
        """Connect as aiohttp does, and limit the response's size."""
        connection = await super().connect(req, traces, timeout)
        if connection.transport is not None and connection.protocol is not None:
            connection.transport.set_protocol(_Metered(connection.protocol, connection.transport))
        return connection

    def _socket_for(self, address_info: AddrInfoType) -> socket.socket:
        """A socket for exactly this address, which is connected to next. Raises `NotPublicError`.

        The resolver does not see addresses that are written in a URL, and its result may be old. This is the last
        check, and every connection passes it.
        """
        family, type_, protocol, _, address = address_info
        host, port = str(address[0]), int(address[1])
        if self._allowed_addresses.refusal(host, port) is not None:
            log.info("a request to an address that is not public was refused", address=host, port=port)
            raise NotPublicError
        made = socket.socket(family, type_, protocol)
        # Fixed, so that it does not grow to megabytes for a response that is not read.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        return made


class _Metered(asyncio.Protocol):
    """Passes data on up to the limit. aiohttp's own limits do not cover interim responses."""

    def __init__(self, inner: asyncio.Protocol, transport: asyncio.Transport) -> None:
        self._inner = inner
        self._transport = transport
        self._left_bytes = MAX_ANSWER_BYTES

    def data_received(self, data: bytes) -> None:
        self._inner.data_received(data[: self._left_bytes])
        self._left_bytes -= len(data)
        if self._left_bytes <= 0:
            self._left_bytes = 0
            self._transport.abort()

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def connection_lost(self, error: Exception | None) -> None:
        self._inner.connection_lost(error)

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()


class PublicNames(AbstractResolver):
    """Resolves names for aiohttp, and raises `NotPublicError` if any of the addresses is not public.

    One such address rejects all, since no honest name mixes them. If the operator allows one of the addresses, the
    others are only left out ('localhost' is ::1 too).

    `getaddrinfo` cannot be interrupted, and a name's owner can make it hang. So every look-up has a thread of its own:
    their number is bounded, nothing else uses them, and the exit does not wait for them.
    """

    def __init__(self, allowed: AllowList, lookup: Lookup) -> None:
        self._allowed = allowed
        self._lookup = lookup
        self._under_way = 0

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002 - the connector wants them all
    ) -> list[ResolveResult]:
        found = [(found_family, str(address[0])) for found_family, *_, address in await self._looked_up(host, port)]
        public = [answer for answer in found if self._allowed.refusal(answer[1], port) is None]
        if public != found and not any(self._allowed.excepts(address, port) for _, address in public):
            log.info("a request to a name whose address is not public was refused", host=host, port=port)
            raise NotPublicError
        return [
            ResolveResult(hostname=host, host=address, port=port, family=of, proto=0, flags=socket.AI_NUMERICHOST)
            for of, address in public
        ]

    async def close(self) -> None:
        """Nothing to close; look-ups in progress end by themselves."""

    async def _looked_up(self, host: str, port: int) -> list[tuple[Any, ...]]:
        if self._under_way >= MAX_LOOKUPS:
            raise OSError("too many names are being looked up")
        loop = asyncio.get_running_loop()
        answers: asyncio.Future[list[tuple[Any, ...]]] = loop.create_future()

        def settle(found: list[tuple[Any, ...]] | Exception) -> None:
            self._under_way -= 1
            if answers.cancelled():
                return
            if isinstance(found, Exception):
                answers.set_exception(found)
            else:
                answers.set_result(found)

        def in_thread() -> None:
            found: list[tuple[Any, ...]] | Exception
            try:
                found = self._lookup(host, port)
            except Exception as error:  # noqa: BLE001 - passed on to the waiting caller
                found = error
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(settle, found)

        threading.Thread(target=in_thread, name="look-up", daemon=True).start()
        self._under_way += 1
        return await answers


def look_up(host: str, port: int) -> list[tuple[Any, ...]]:
    return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG))
