"""A stream's response: `text/event-stream` (WHATWG HTML, 9.2), with frames written straight to the transport."""

import asyncio
import socket
import sys
import time
from contextlib import suppress

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import StreamWriter
from aiohttp_sse import EventSourceResponse

UNSENT_IN_KERNEL_BYTES = 64 * 1024
"""How much the kernel buffers for a slow reader. By default it is 4 MB: minutes of outdated states."""

_TCP_NOTSENT_LOWAT = getattr(socket, "TCP_NOTSENT_LOWAT", 25 if sys.platform == "linux" else None)  # Python 3.12 has it


class Frame:
    """One or more events as bytes, and as an HTTP chunk (RFC 9112, 7.1): encoded once for all watchers."""

    __slots__ = ("chunk", "made_s", "text")

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.chunk = b"".join((b"%x\r\n" % len(text), text, b"\r\n"))
        self.made_s = time.monotonic()


class EventStream(EventSourceResponse):
    """aiohttp-sse's response with the contract's headers, LF line ends and frames that are already encoded.

    With many watchers, aiohttp-sse's ping task, formatting and drain per watcher would dominate the cost; they are left
    out. `offer` never waits: if the reader is behind it returns false, and the watcher's own task serves it with
    `write`, which waits. `OpenStreams` sends the heartbeats and cuts stalled readers.
    """

    def __init__(self, stall_timeout_s: float) -> None:
        """`stall_timeout_s`: how long the kernel waits for the reader to acknowledge data."""
        super().__init__(sep="\n", send_timeout=stall_timeout_s)
        self.headers["Cache-Control"] = "no-store, no-transform"  # the base class insists on "no-cache"
        # aiohttp decides whether the connection is kept open.
        del self.headers["Connection"]
        self.said_s = time.monotonic()
        self.frames_sent = 0
        self.frames_skipped = 0
        """Frames that were not sent because the reader was behind; it gets the newest state once it has caught up."""
        self._protocol: web.RequestHandler | None = None
        self._writer: StreamWriter | None = None
        self._resting: asyncio.Future[None] | None = None
        self._taken: tuple[int, float] | None = None

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        if request.transport is None:
            raise ConnectionResetError("the client has gone before the stream began")
        if self.prepared:
            return await web.StreamResponse.prepare(self, request)
        self._set_tcp_user_timeout(request)
        self._keep_little_in_kernel(request.transport)
        writer = await web.StreamResponse.prepare(self, request)
        if isinstance(writer, StreamWriter):
            self._writer, self._protocol = writer, request.protocol
            # Save memory with ten thousand idle streams: drop the sent headers, and aiohttp's keep-alive timer, which
            # it sets again afterwards.
            self.headers.clear()
            request.protocol.keep_alive(True)
        return writer

    def _keep_little_in_kernel(self, transport: asyncio.Transport) -> None:
        sock = transport.get_extra_info("socket")
        if _TCP_NOTSENT_LOWAT is not None and sock is not None:
            with suppress(OSError):  # not TCP
                sock.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, UNSENT_IN_KERNEL_BYTES)

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write, and wait while the transport's buffer is full. Raises `ConnectionError` if the client is gone."""
        await super().write(data)
        self.said_s = time.monotonic()
        self.frames_sent += 1

    def offer(self, frame: Frame) -> bool:
        """Hand a frame to the transport without a task switch.

        False, and nothing is sent, if the reader is behind or gone, or if the stream has not begun or has ended.
        """
        protocol, writer = self._protocol, self._writer
        if protocol is None or writer is None:
            return False
        transport = protocol.transport
        if transport is None or protocol.writing_paused or transport.is_closing():
            self.frames_skipped += 1
            return False
        data = frame.chunk if writer.chunked else frame.text
        transport.write(data)
        writer.output_size += len(data)
        self.said_s = frame.made_s
        self.frames_sent += 1
        return True

    async def write_eof(self, data: bytes = b"") -> None:
        self._writer = None  # nothing may be offered after the last chunk
        await super().write_eof(data)

    async def caught_up(self) -> None:
        """Wait until the transport's buffer has drained. Raises `ConnectionError` if the client has disconnected."""
        if self.lost or self._writer is None:
            raise ConnectionResetError("the client has gone")
        await self._writer.drain()

    # While the fan-out serves the stream, the watcher's own task sleeps

    async def rest(self) -> None:
        """Sleep until `wake` is called."""
        self._resting = asyncio.get_running_loop().create_future()
        try:
            await self._resting
        finally:
            self._resting = None

    def wake(self) -> None:
        """Wake the watcher's task, if it sleeps."""
        if self._resting is not None and not self._resting.done():
            self._resting.set_result(None)

    # For `OpenStreams`

    @property
    def lost(self) -> bool:
        """Whether the client has disconnected. aiohttp does not tell an endpoint unless it writes."""
        protocol = self._protocol
        return protocol is not None and (protocol.transport is None or protocol.transport.is_closing())

    def stalled_s(self, now_s: float) -> float | None:
        """For how long, over the calls so far, the reader has taken nothing; `None` if nothing is buffered for it."""
        if self._protocol is None or self._protocol.transport is None:
            return None
        held = self._protocol.transport.get_write_buffer_size()
        if not held:
            self._taken = None
            return None
        taken = (0 if self._writer is None else self._writer.output_size) - held
        if self._taken is None or self._taken[0] != taken:
            self._taken = (taken, now_s)
        return now_s - self._taken[1]

    def cut(self) -> None:
        """Close the connection without sending another byte."""
        if self._protocol is not None and self._protocol.transport is not None:
            self._protocol.transport.abort()
        self.wake()
