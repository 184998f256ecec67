"""Resumable uploads in tests: a client of tus that does one thing at a time, and a job that reads what was sent."""

import base64
import hashlib
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tests.support.process import WAIT_TIMEOUT_S, Reply, ServerProcess
from tests.support.raw import RawReply, parse, read_to_end

TUS = {"Tus-Resumable": "1.0.0"}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
PART = {**TUS, "Content-Type": "application/offset+octet-stream"}

SUM_JOBS = """
import hashlib
from headway import BlockingContext, Upload, job
from pydantic import BaseModel

class File(BaseModel):
    file: Upload

@job("sum-file")
def sum_file(ctx: BlockingContext, input: File) -> dict[str, str | int]:
    with input.file.path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return {"sha256": sha256, "bytes": input.file.size_bytes, "name": input.file.filename}
"""


def metadata(**values: str) -> str:
    """`Upload-Metadata`."""
    return ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in values.items())


def announce(server: ServerProcess, length_bytes: int, who: Mapping[str, str] | None = None, **values: str) -> str:
    """Create an upload. Returns its path."""
    headers = {**TUS, **(who or {}), "Upload-Length": str(length_bytes)}
    reply = server.request(
        "POST", "/uploads", headers=headers | ({"Upload-Metadata": metadata(**values)} if values else {})
    )
    assert reply.status == 201, reply.body
    return str(reply.headers["Location"])


def send_part(
    server: ServerProcess, upload: str, data: bytes, offset: int, who: Mapping[str, str] | None = None
) -> Reply:
    return server.request("PATCH", upload, data, {**PART, **(who or {}), "Upload-Offset": str(offset)})


def uploaded(server: ServerProcess, data: bytes, who: Mapping[str, str] | None = None, **values: str) -> str:
    """Upload a file at once. Returns its path."""
    upload = announce(server, len(data), who, **values)
    assert send_part(server, upload, data, 0, who).status == 204
    return upload


def offset_of(server: ServerProcess, upload: str, who: Mapping[str, str] | None = None) -> int:
    reply = server.request("HEAD", upload, headers={**TUS, **(who or {})})
    assert reply.status == 200, reply.status
    return int(reply.headers["Upload-Offset"])


class OpenPart:
    """A part that is being sent, in as many pieces as the test likes."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def send(self, data: bytes) -> None:
        self._connection.sendall(data)

    def reply(self) -> RawReply:
        return parse(read_to_end(self._connection))

    def first_line(self) -> str:
        """Of the response. The server closes the connection later: it goes on to receive the body for a while."""
        received = b""
        while b"\r\n" not in received:
            received += self._connection.recv(1000)
        return received.partition(b"\r\n")[0].decode("ascii")

    def cut(self) -> None:
        self._connection.close()


@contextmanager
def open_part(
    server: ServerProcess, upload: str, offset: int, length_bytes: int, who: Mapping[str, str] | None = None
) -> Iterator[OpenPart]:
    """Begin a part that announces `length_bytes`. The server waits for it: it has asked for the body."""
    lines = [
        f"PATCH {upload} HTTP/1.1",
        "Host: localhost",
        "Connection: close",
        "Expect: 100-continue",
        *(f"{name}: {value}" for name, value in {**PART, **(who or {})}.items()),
        f"Upload-Offset: {offset}",
        f"Content-Length: {length_bytes}",
        "",
        "",
    ]
    with socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_TIMEOUT_S) as connection:
        connection.sendall("\r\n".join(lines).encode())
        told = connection.recv(len(CONTINUE), socket.MSG_WAITALL)  # a refusal may come right behind it
        assert told == CONTINUE, told
        yield OpenPart(connection)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
