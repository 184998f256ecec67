"""The server's end of a control socket: packets in the event loop, some with a descriptor."""

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress

MAX_PACKET_BYTES = 4096

Received = Callable[[list[str], int | None], None]
"""Takes the words of a packet, and the descriptor that came with it."""


class Packets:
    """Sends without waiting, and hands on what is received until the other end is gone."""

    def __init__(self, control: socket.socket, received: Received, gone: Callable[[], None]) -> None:
        self._control = control
        self._received = received
        self._gone = gone
        self._loop = asyncio.get_running_loop()
        self._unsent: deque[bytes] = deque()
        self._open = True
        self._loop.add_reader(control.fileno(), self.receive)

    def send(self, packet: str) -> None:
        """Send a packet; nothing happens if the other end is gone."""
        if self._open:
            self._unsent.append(packet.encode())
            self._send_unsent()

    def send_descriptor(self, packet: str, descriptor: int) -> None:
        """Send a packet with a copy of a descriptor. Raises `OSError`."""
        socket.send_fds(self._control, [packet.encode()], [descriptor])

    def receive(self) -> None:
        """Hand on everything that has arrived."""
        while self._open:
            try:
                packet, passed, _, _ = socket.recv_fds(self._control, MAX_PACKET_BYTES, 1)
            except BlockingIOError:
                return
            except OSError:
                packet, passed = b"", []
            if not packet:
                self.close()
                self._gone()
                return
            self._received(packet.decode().split(" ", 2), passed[0] if passed else None)

    def finish(self) -> None:
        """Send nothing any more; the other end notices, and may still send."""
        if self._open:
            with suppress(OSError):  # it is gone
                self._control.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close the socket; the other end notices. May be called again."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._control.fileno())
            self._loop.remove_writer(self._control.fileno())
            self._control.close()

    def _send_unsent(self) -> None:
        try:
            while self._unsent:
                self._control.send(self._unsent[0])
                self._unsent.popleft()
        except BlockingIOError:  # it is stopped, in a debugger say
            self._loop.add_writer(self._control.fileno(), self._send_unsent)
            return
        except OSError:
            self._unsent.clear()
        self._loop.remove_writer(self._control.fileno())


def channel_of(descriptor: int) -> socket.socket:
    """The socket that came with a packet."""
    os.set_inheritable(descriptor, False)
    return socket.socket(fileno=descriptor)
