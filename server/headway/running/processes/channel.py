"""The socket between the server and a child: length-prefixed JSON messages."""

import json
import select
import socket
import struct
import threading
from typing import Any

LENGTH = struct.Struct("!I")

Message = dict[str, Any]


def encode_frame(message: Message) -> bytes:
    """A message on the socket: its length in four bytes, then JSON."""
    body = json.dumps(message).encode()
    return LENGTH.pack(len(body)) + body


class Channel:
    """The child's end of the socket. Any thread may send; one receives."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._sending = threading.Lock()

    def send(self, message: Message) -> None:
        with self._sending:
            self._socket.sendall(encode_frame(message))

    def receive(self) -> Message | None:
        """The next message, `None` when the server has closed its end or is gone."""
        head = self._exactly(LENGTH.size)
        body = head and self._exactly(LENGTH.unpack(head)[0])
        return json.loads(body) if body else None

    def readable(self, timeout_s: float) -> bool:
        return bool(select.select([self._socket], [], [], timeout_s)[0])

    def _exactly(self, count: int) -> bytes | None:
        chunks = b""
        while len(chunks) < count:
            try:
                chunk = self._socket.recv(count - len(chunks))
            except ConnectionError:
                return None
            if not chunk:
                return None
            chunks += chunk
        return chunks
