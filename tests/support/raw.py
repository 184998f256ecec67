"""Bytes in, bytes out: a real server's requests and responses, as they are on the wire."""

import contextlib
import json
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

from tests.support.process import WAIT_TIMEOUT_S, Reply, ServerProcess

Headers = Sequence[tuple[str, str]]

JSON = (("Content-Type", "application/json"),)
BOUNDARY = "b-o-u-n-d-a-r-y"
FORM = (("Content-Type", f"multipart/form-data; boundary={BOUNDARY}"),)


@dataclass(frozen=True)
class RawReply:
    """A response as received: the head parsed, the body not."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def request_bytes(
    method: str, path: str, headers: Headers = (), body: bytes | None = None, *, version: str = "1.1"
) -> bytes:
    """A request that asks for its connection to be closed afterwards."""
    lines = [f"{method} {path} HTTP/{version}", "Host: localhost", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers]
    if body is not None and not any(name == "Transfer-Encoding" for name, _ in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


def exchange(server: ServerProcess, request: bytes, *, half_close: bool = False) -> RawReply | None:
    """Send bytes. Returns the response, or `None` if the server closed the connection without one."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_TIMEOUT_S) as connection:
        with contextlib.suppress(ConnectionError):  # an early refusal closes while we still send
            connection.sendall(request)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        received = read_to_end(connection)
    return parse(received) if received else None


def read_to_end(connection: socket.socket) -> bytes:
    """Read until the server closes or resets the connection; what arrived before a reset can still be read."""
    received = bytearray()
    with contextlib.suppress(ConnectionError):
        while chunk := connection.recv(65536):
            received += chunk
    return bytes(received)


def parse(received: bytes) -> RawReply:
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert len(headers) == len(lines), f"a header is repeated: {lines}"
    return RawReply(int(first.split()[1]), headers, body)


def send(server: ServerProcess, method: str, path: str, headers: Headers = (), body: bytes | None = None) -> RawReply:
    reply = exchange(server, request_bytes(method, path, headers, body))
    assert reply is not None
    return reply


def assert_problem(reply: RawReply | Reply, status: int, slug: str, *pointers: str) -> Any:
    """Check that the response is this problem (RFC 9457), with errors at these pointers. Returns its body."""
    assert reply.status == status, reply.body
    assert reply.headers["Content-Type"] == "application/problem+json"
    problem = json.loads(reply.body)
    assert {"type", "title", "status", "detail", "instance"} <= problem.keys()
    assert problem["type"] == f"/problems/{slug}"
    assert problem["status"] == status
    assert problem["title"]
    assert problem["instance"].startswith(("/", "http://"))
    assert [error["pointer"] for error in problem.get("errors", ())] == list(pointers)
    assert all(error["detail"] for error in problem.get("errors", ()))
    if status == 422 and slug == "validation-failed":
        assert pointers
    return problem


def part(name: str, content: bytes, filename: str | None = None, *headers: str) -> bytes:
    """One part of a form; a file if it has a `filename`."""
    disposition = f'Content-Disposition: form-data; name="{name}"'
    if filename is not None:
        disposition += f'; filename="{filename}"'
    return "\r\n".join([disposition, *headers, "", ""]).encode() + content


def form(*parts: bytes) -> bytes:
    delimiter = f"--{BOUNDARY}".encode()
    return b"".join(b"%s\r\n%s\r\n" % (delimiter, part) for part in parts) + delimiter + b"--\r\n"


LINES = (b":", b"retry:")
"""How a line begins that stands before an event."""


class RawStream:
    """A stream that the test reads byte by byte, when it wants to."""

    def __init__(
        self,
        server: ServerProcess,
        path: str,
        headers: Headers = (),
        *,
        receive_buffer: int | None = None,
        version: str = "1.1",
    ) -> None:
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(WAIT_TIMEOUT_S)
        self.socket.connect(("127.0.0.1", server.port))
        lines = [
            f"GET {path} HTTP/{version}",
            "Host: localhost",
            *(f"{name}: {value}" for name, value in headers),
            "",
            "",
        ]
        self.socket.sendall("\r\n".join(lines).encode())
        self._received = bytearray()
        self._text = bytearray()
        self.ended = False
        try:
            reply = parse(self._until(b"\r\n\r\n"))
        except BaseException:
            self.close()
            raise
        self.status, self.headers = reply.status, reply.headers
        self._chunked = reply.headers.get("Transfer-Encoding") == "chunked"

    def frame(self) -> bytes | None:
        """The next event with its empty line, or the line before an event; `None` at the end of the stream.

        No empty line ends a block without data: there are clients that hand such a block to their user as an event.
        """
        while (end := b"\n" if self._text.startswith(LINES) else b"\n\n") not in self._text:
            if not self._more():
                assert not self._text, f"half a frame at the end: {bytes(self._text)!r}"
                return None
        frame, _, rest = bytes(self._text).partition(end)
        self._text = bytearray(rest)
        assert end == b"\n" or b"data: " in frame, f"a block without data: {frame!r}"
        return frame + end

    def frames(self) -> Iterator[bytes]:
        """The remaining events."""
        while (frame := self.frame()) is not None:
            if not frame.startswith(LINES):
                yield frame

    def _more(self) -> bool:
        """Read one more chunk. Returns false at the end."""
        if not self._chunked:
            chunk = bytes(self._received) or self.socket.recv(65536)  # some may have come with the head
            self._received.clear()
            self._text += chunk
            self.ended = not chunk
            return bool(chunk)
        size = int(self._until(b"\r\n"), 16)
        chunk = self._exactly(size + 2)
        assert chunk.endswith(b"\r\n")
        self._text += chunk[:-2]
        self.ended = size == 0
        return size > 0

    def _until(self, delimiter: bytes) -> bytes:
        while delimiter not in self._received:
            chunk = self.socket.recv(65536)
            assert chunk, f"the connection was cut: {bytes(self._received)!r}"
            self._received += chunk
        found, _, rest = bytes(self._received).partition(delimiter)
        self._received = bytearray(rest)
        return found

    def _exactly(self, count: int) -> bytes:
        while len(self._received) < count:
            chunk = self.socket.recv(65536)
            assert chunk, "the connection was cut"
            self._received += chunk
        found = bytes(self._received[:count])
        del self._received[:count]
        return found

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def data_of(frame: bytes) -> Any:
    """A frame's data, parsed as JSON."""
    return json.loads(next(line for line in frame.split(b"\n") if line.startswith(b"data: "))[6:])


def id_of(frame: bytes) -> int | None:
    lines = [line for line in frame.split(b"\n") if line.startswith(b"id: ")]
    return int(lines[0][4:]) if lines else None


def is_state(frame: bytes) -> bool:
    return not frame.startswith((b"event:", b":", b"retry:"))
