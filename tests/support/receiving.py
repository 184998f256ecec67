"""Receivers of outgoing requests on the loopback, well-behaved and not, and a list of what this process connects to."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from headway.domain.addresses import AllowList
from headway.webhooks.connector import GuardedConnector, Lookup
from headway.webhooks.outgoing import Outgoing, Unreachable

NOBODY = AllowList()
LOOPBACK = AllowList(["127.0.0.1", "127.0.0.2"])
BODY = b'{"type":"job.completed"}'

connects: list[Any] = []
"""The addresses to which this process has tried to connect."""

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def _listen_in(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect":
        connects.append(arguments[1])


sys.addaudithook(_listen_in)


@asynccontextmanager
async def sending(
    allowed: AllowList = LOOPBACK, timeout_s: float = 5.0, lookup: Lookup | None = None
) -> AsyncIterator[Outgoing]:
    outgoing = Outgoing(allowed, timeout_s=timeout_s, lookup=lookup)
    try:
        yield outgoing
    finally:
        await outgoing.close()


async def refused(outgoing: Outgoing, url: str) -> Unreachable:
    with pytest.raises(Unreachable) as raised:
        await outgoing.post(url, BODY, {})
    return raised.value


def assert_nobody_came(trap: socket.socket) -> None:
    assert connects == []
    with pytest.raises(BlockingIOError):
        trap.accept()


def connector(outgoing: Outgoing) -> GuardedConnector:
    found = outgoing._session.connector
    assert isinstance(found, GuardedConnector)
    return found


def answering(*answers: list[str]) -> Lookup:
    """A look-up that returns each of these lists in turn, and then the last one for ever."""
    left = list(answers)

    def look_up(host: str, port: int) -> list[tuple[Any, ...]]:
        addresses = left.pop(0) if len(left) > 1 else left[0]
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0))
            if ":" in address
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in addresses
        ]

    return look_up


class Seen:
    """The requests that a receiver got, and how much it could send back."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.sent_bytes = 0
        self.reader = asyncio.StreamReader()
        self.came = asyncio.Event()
        self.gone = asyncio.Event()


@asynccontextmanager
async def receiver(
    behave: Callable[[asyncio.StreamWriter, Seen], Awaitable[None]], **options: Any
) -> AsyncIterator[tuple[int, Seen]]:
    """A server on the loopback that reads a request and then calls `behave`, until its peer has gone."""
    seen = Seen()

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.reader = reader
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            seen.requests.append(head + await reader.readexactly(len(BODY)))
            await behave(writer, seen)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            seen.gone.set()
            writer.close()

    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 * 1024)  # what was written is then nearly received
    async with await asyncio.start_server(accepted, sock=listener, **options):
        yield listener.getsockname()[1], seen


def saying(*parts: bytes) -> Callable[[asyncio.StreamWriter, Seen], Awaitable[None]]:
    async def say(writer: asyncio.StreamWriter, seen: Seen) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()

    return say


def repeating(first: bytes, again: bytes) -> Callable[[asyncio.StreamWriter, Seen], Awaitable[None]]:
    """Send `again` for ever, or up to 10 GB."""

    async def repeat(writer: asyncio.StreamWriter, seen: Seen) -> None:
        writer.transport.set_write_buffer_limits(high=16_384)
        writer.write(first)
        while seen.sent_bytes < 10_000_000_000:
            writer.write(again)
            await writer.drain()
            seen.sent_bytes += len(again)

    return repeat


async def silent(writer: asyncio.StreamWriter, seen: Seen) -> None:
    seen.came.set()
    assert not await seen.reader.read()
