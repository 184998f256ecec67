"""Requests that are held open, many at once, and the ways in which a client ends them."""

import contextlib
import json
import select
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Self

from tests.support.process import WAIT_TIMEOUT_S
from tests.support.raw import FORM, Headers, RawReply, form, parse, part, read_to_end, request_bytes

Ending = Callable[[socket.socket], None]


def close(connection: socket.socket) -> None:
    connection.close()


def reset(connection: socket.socket) -> None:
    """Close it with a RST instead of a FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def shut(connection: socket.socket) -> None:
    """Send no more and wait for the server's end: a request that was cancelled half-way."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_WR)
        read_to_end(connection)
    connection.close()


def unfinished_form(key_headers: Headers = (), path: str = "/jobs/reads-upload") -> bytes:
    """A form whose file has begun, and most of which is still to come."""
    begun = form(part("document", b"line\n", "document.csv")).rpartition(b"\r\n--")[0]
    return request_bytes("POST", path, [*FORM, *key_headers, ("Content-Length", "100000")]) + begun


@dataclass
class Held:
    """Requests without an end, on connections of their own."""

    port: int
    connections: list[socket.socket] = field(default_factory=list)
    refusals: list[RawReply] = field(default_factory=list)
    _streams: set[socket.socket] = field(default_factory=set)

    def open(self, request: bytes, count: int, address: str = "127.0.0.1") -> None:
        """Send the request on new connections, without waiting for anything."""
        for _ in range(count):
            there = ("127.0.0.1", self.port)
            connection = socket.create_connection(there, WAIT_TIMEOUT_S, source_address=(address, 0))
            self.connections.append(connection)
            with contextlib.suppress(ConnectionError):  # refused already
                connection.sendall(request)

    def wait_for_refusals(self, count: int) -> Sequence[RawReply]:
        """Wait until so many have been refused; these are no longer held. A stream's 200 is no refusal."""
        while len(self.refusals) < count:
            waiting = [each for each in self.connections if each not in self._streams]
            ready = select.select(waiting, [], [], WAIT_TIMEOUT_S)[0]
            assert ready, "nothing more is refused"
            for connection in ready:
                if connection.recv(12, socket.MSG_PEEK) == b"HTTP/1.1 200":
                    self._streams.add(connection)
                else:
                    self.connections.remove(connection)
                    self.refusals.append(_answer(connection))
                    connection.close()
        return self.refusals

    def answers(self) -> list[RawReply]:
        """What the server says in the end to all that are held."""
        return [_answer(connection) for connection in self.connections]

    def end(self, ending: Ending) -> None:
        for connection in self.connections:
            ending(connection)
        self.connections.clear()
        self._streams.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end(reset)


def _answer(connection: socket.socket) -> RawReply:
    """A response without its end of the connection: the server goes on reading for a while, so that it is received."""
    received = bytearray()
    while True:
        received += connection.recv(65_536)
        if b"\r\n\r\n" in received:
            reply = parse(bytes(received))
            if len(reply.body) == int(reply.headers["Content-Length"]):
                return reply


def unfinished_json(path: str, size: int, headers: Headers = ()) -> bytes:
    """A JSON body of `size` bytes without its last one."""
    body = json.dumps({"text": ""}).encode()
    body = body.replace(b'""', b'"%s"' % (b"x" * (size - len(body))))
    head = [("Content-Type", "application/json"), *headers, ("Content-Length", str(size))]
    return request_bytes("POST", path, head) + body[:-1]
