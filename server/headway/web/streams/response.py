"""One watcher's answer: `text/event-stream` (WHATWG HTML, 9.2), whose frames go straight to the transport."""

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
"""What the kernel holds for a slow reader before the transport must. Left alone it takes 4 MB: minutes of old news."""

_TCP_NOTSENT_LOWAT = getattr(socket, "TCP_NOTSENT_LOWAT", 25 if sys.platform == "linux" else None)  # Python 3.12 has it


class Frame:
    """One event or more as bytes, and the chunk that carries them (RFC 9112, 7.1): made once for all watchers."""

    __slots__ = ("chunk", "made_s", "text")

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.chunk = b"%x\r\n%b\r\n" % (len(text), text)
        self.made_s = time.monotonic()


class EventStream(EventSourceResponse):
    """aiohttp-sse's response, with the contract's headers, LF line ends and frames that are bytes already.

    Where a frame goes to many, its ping task, its formatting and its drain per watcher are what costs; they are
    left out. `offer` never waits: a reader that is behind is told so, and is served by its own task until it has
    caught up (`write`, which waits). `OpenStreams` says the heartbeats and cuts whoever takes nothing.
    """

    def __init__(self, stall_timeout_s: float) -> None:
        """`stall_timeout_s`: how long the kernel may wait for the reader to take what was sent."""
        super().__init__(sep="\n", send_timeout=stall_timeout_s)
        self.headers["Cache-Control"] = "no-store, no-transform"  # the base class insists on "no-cache"
        # So do we leave to aiohttp what the base class insists on: this connection may be one that closes.
        del self.headers["Connection"]
        self.said_s = time.monotonic()
        self.frames_sent = 0
        self.frames_skipped = 0
        """Offered while the reader was behind: it gets what is newest once it has caught up."""
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
            # What ten thousand idle streams need not keep: headers that are sent, and aiohttp's timer for connections
            # without a request, which it sets anew afterwards.
            self.headers.clear()
            request.protocol.keep_alive(True)
        return writer

    def _keep_little_in_kernel(self, transport: asyncio.Transport) -> None:
        sock = transport.get_extra_info("socket")
        if _TCP_NOTSENT_LOWAT is not None and sock is not None:
            with suppress(OSError):  # not TCP
                sock.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, UNSENT_IN_KERNEL_BYTES)

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Waits while the transport holds more than it should. Raises `ConnectionError` once the client has gone."""
        await super().write(data)
        self.said_s = time.monotonic()
        self.frames_sent += 1

    def offer(self, frame: Frame) -> bool:
        """Hand a frame to the transport, without a task switch. False, and nothing is sent, if the reader is behind
        or gone, or the stream has not begun or is at its end.
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
        self._writer = None  # from here on nothing may be offered: it would follow the last chunk
        await super().write_eof(data)

    async def caught_up(self) -> None:
        """Wait until the transport holds little. Raises `ConnectionError` once the client has gone."""
        if self.lost or self._writer is None:
            raise ConnectionResetError("the client has gone")
        await self._writer.drain()

    # The watcher's own task sleeps while the stream is served by others

    async def rest(self) -> None:
        """Sleep until somebody calls `wake`."""
        self._resting = asyncio.get_running_loop().create_future()
        try:
            await self._resting
        finally:
            self._resting = None

    def wake(self) -> None:
        """End the rest, if there is one: whoever rests looks around before."""
        if self._resting is not None and not self._resting.done():
            self._resting.set_result(None)

    # What whoever looks after it asks

    @property
    def lost(self) -> bool:
        """Whether the client has gone. aiohttp does not tell a handler that, unless it writes."""
        protocol = self._protocol
        return protocol is not None and (protocol.transport is None or protocol.transport.is_closing())

    def stalled_s(self, now_s: float) -> float | None:
        """For how long the reader has taken nothing of what is held for it, as far as this was asked; `None` if
        nothing is held.
        """
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
        """End the connection without another byte."""
        if self._protocol is not None and self._protocol.transport is not None:
            self._protocol.transport.abort()
        self.wake()
