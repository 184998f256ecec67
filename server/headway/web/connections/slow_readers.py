"""Large responses that are read too slowly are cut off, so that no client can hold a place and memory for ever."""

import asyncio
import contextlib
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator

import structlog
from aiohttp import web

from ...loops import Loop, Loops

MIN_BYTES_PER_S = 500
CHECKS_PER_LIMIT = 10
LONGEST_PAUSE_S = 1.0

_TCP_INFO_BYTES_ACKED = 120
"""The offset of `tcpi_bytes_acked` in Linux's `struct tcp_info` (linux/tcp.h, since 4.1)."""

log = structlog.get_logger(__name__)


def acknowledged_bytes(transport: asyncio.Transport) -> int | None:
    """How much the client's kernel has received so far; `None` where the system does not tell.

    What the server's kernel has taken says too little: it holds megabytes for a slow reader.
    """
    sock = transport.get_extra_info("socket")
    if sock is None or sys.platform != "linux":
        return None
    with contextlib.suppress(OSError, struct.error, ValueError):  # not TCP, an old kernel, a socket that uvloop closed
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES_ACKED + 8)
        taken: int = struct.unpack_from("=Q", info, _TCP_INFO_BYTES_ACKED)[0]
        return taken
    return None


def reset(transport: asyncio.Transport) -> None:
    """Close the connection and drop what is unsent. Without that the kernel would go on sending what it holds."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError, ValueError):  # closed meanwhile; uvloop's has a negative descriptor
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


class SlowReaders:
    """Checks the downloads in progress: within each `timeout_s`, `MIN_BYTES_PER_S` times as many bytes must be taken.

    One loop for all of them. A client that reads nothing at all is also cut off by the kernel (`TCP_USER_TIMEOUT`).
    """

    def __init__(
        self,
        timeout_s: float,
        *,
        clock_s: Callable[[], float] = time.monotonic,
        taken_bytes: Callable[[asyncio.Transport], int | None] = acknowledged_bytes,
        cut: Callable[[asyncio.Transport], None] = reset,
    ) -> None:
        self._timeout_s = timeout_s
        self._enough_bytes = max(1, int(timeout_s * MIN_BYTES_PER_S))
        self._clock_s = clock_s
        self._taken_bytes = taken_bytes
        self._cut = cut
        self._downloads: dict[asyncio.Transport, tuple[int, float]] = {}

    def start(self, loops: Loops) -> Loop:
        """Check until the loop is stopped."""
        return loops.start("slow-readers", self._check)

    @contextlib.contextmanager
    def watching(self, transport: asyncio.Transport | None) -> Iterator[None]:
        """Within this block the client must read what it is sent."""
        taken = None if transport is None else self._taken_bytes(transport)
        if transport is None or taken is None:
            yield
            return
        self._downloads[transport] = (taken, self._clock_s())
        try:
            yield
        finally:
            del self._downloads[transport]

    async def _check(self) -> float:
        now_s = self._clock_s()
        for transport, (before, since_s) in list(self._downloads.items()):
            taken = self._taken_bytes(transport)
            if taken is None or taken - before >= self._enough_bytes:
                self._downloads[transport] = (before if taken is None else taken, now_s)
            elif now_s - since_s >= self._timeout_s:
                log.info("a download was cut off: it was read too slowly", read_bytes=taken - before)
                self._cut(transport)
        return min(LONGEST_PAUSE_S, self._timeout_s / CHECKS_PER_LIMIT)


SLOW_READERS = web.AppKey("slow_readers", SlowReaders)
LARGE_BYTES = 64 * 1024
"""What is larger may wait for its reader. Smaller responses fit into the buffers of a connection."""
