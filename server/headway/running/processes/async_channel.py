"""The server's end of the channel to a child: a socket in its event loop, without asyncio's streams.

Every attempt opens one. A stream connection takes two tasks' turns of the loop to be there, and several objects.
"""

import asyncio
import socket
from collections import deque
from contextlib import suppress

from .channel import HEAD, decode_as, encode, kind_and_length
from .messages import Message

READ_BYTES = 256 * 1024
READ_AHEAD_BYTES = 128 * 1024
"""How much may be received before it is asked for; a child that sends more waits."""


class AsyncChannel:
    """Sends without waiting. One task receives."""

    def __init__(self, channel: socket.socket) -> None:
        channel.setblocking(False)
        self._socket = channel
        self._loop = asyncio.get_running_loop()
        self._received = bytearray()
        self._unsent: deque[memoryview] = deque()
        self._more: asyncio.Future[None] | None = None
        """Resolved when something has been received."""
        self._reading = False
        self._over = False
        """Whether nothing more is received."""
        self._finished = False
        self._closed = False
        self._read_on()

    def send(self, message: Message) -> None:
        """Send without waiting; nothing happens if the child is gone. Raises `ValueError` for a message too large."""
        if self._closed or self._finished:
            return
        self._unsent.append(memoryview(encode(message)))
        if len(self._unsent) == 1:
            self._send_unsent()

    async def receive(self) -> Message | None:
        """The next message, `None` if the child has closed its end or is gone. Raises `GarbledMessageError`."""
        head = await self._exactly(HEAD.size)
        if head is None:
            return None
        kind, length = kind_and_length(head)
        body = await self._exactly(length)
        return None if body is None else decode_as(kind, body)

    def hear_no_more(self) -> None:
        """What has been received is the last; then the next message is `None`."""
        self._over = True
        self._pause()
        self._wake()

    def finish(self) -> None:
        """Send nothing any more; the child sees the end of it, and may still send."""
        self._finished = True
        if not self._unsent and not self._closed:
            self._shut()

    def close(self) -> None:
        """Close the socket; the child sees the end of it. May be called again."""
        if not self._closed:
            self.hear_no_more()
            self._closed = True
            self._loop.remove_writer(self._socket.fileno())
            self._socket.close()

    async def _exactly(self, count: int) -> bytes | None:
        while len(self._received) < count:
            if self._over:
                return None
            self._read_on()
            self._more = self._loop.create_future()
            try:
                await self._more
            finally:
                self._more = None
        with memoryview(self._received) as received:  # one copy: it may have many megabytes
            taken = bytes(received[:count])
        del self._received[:count]
        return taken

    def _read_on(self) -> None:
        if not self._reading and not self._over:
            self._reading = True
            self._loop.add_reader(self._socket.fileno(), self._read)

    def _pause(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._socket.fileno())

    def _read(self) -> None:
        try:
            read = self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:  # the child is gone
            read = b""
        self._received += read
        if not read:
            self.hear_no_more()
        elif self._more is not None:
            self._wake()
        elif len(self._received) > READ_AHEAD_BYTES:
            self._pause()

    def _wake(self) -> None:
        if self._more is not None and not self._more.done():
            self._more.set_result(None)

    def _send_unsent(self) -> None:
        try:
            while self._unsent:
                sent = self._socket.send(self._unsent[0])
                self._unsent[0] = self._unsent[0][sent:]
                if not self._unsent[0]:
                    self._unsent.popleft()
        except BlockingIOError:  # the child reads slowly, or the message is large
            self._loop.add_writer(self._socket.fileno(), self._send_unsent)
            return
        except OSError:  # the child is gone
            self._unsent.clear()
        self._loop.remove_writer(self._socket.fileno())
        if self._finished:
            self._shut()

    def _shut(self) -> None:
        with suppress(OSError):  # the child is gone
            self._socket.shutdown(socket.SHUT_WR)
