"""Clients that disconnect in the middle of a request create no job and leak nothing."""

import socket
import struct
from pathlib import Path

import pytest

from tests.support.process import WAIT_TIMEOUT_S, ServerProcess, eventually, multipart
from tests.support.serving import Serving

TIMES = 200
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with a time-out of 0: the connection is reset, as by a client that crashed."""


def _request(path: str, body: bytes, content_type: str) -> bytes:
    framing = f"Content-Type: {content_type}\r\nContent-Length: {len(body)}"
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n".encode() + body


def _cut_off(server: ServerProcess, request: bytes, at: int, *, reset: bool) -> None:
    """Send the request's first `at` bytes, then go."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_TIMEOUT_S) as connection:
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        connection.sendall(request[:at])


def _open_files(server: ServerProcess) -> int:
    return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


JSON_POST = _request("/jobs/says", b'{"text": "' + b"x" * 2000 + b'"}', "application/json")
FILES = {"document": b"line\n" * 60_000, "cover": b"c" * 5000}
UPLOAD = _request("/jobs/reads-upload", *multipart(FILES, {"copies": 2}))


@pytest.mark.parametrize("whole", [JSON_POST, UPLOAD], ids=["mid-post", "mid-upload"])
def test_200_clients_that_are_cut_off_leave_no_job_no_file_and_no_descriptor(
    serving: Serving, tmp_path: Path, whole: bytes
) -> None:
    server = serving(tmp_path)
    later = "?runAt=2099-01-01T00:00:00Z"
    server.submit("noop", query=later)
    before = _open_files(server)
    for number in range(TIMES):
        at = 1 + number * (len(whole) - 2) // (TIMES - 1)
        _cut_off(server, whole, at, reset=number % 2 == 0)
    assert server.request("GET", "/healthz").status == 200  # it stood in line behind all of them
    eventually(lambda: not any((tmp_path / "incoming").iterdir()), "uploads of clients that are gone were kept")
    eventually(lambda: _open_files(server) <= before, "descriptors of clients that are gone were kept")
    assert server.request("GET", "/jobs/stats").json["total"] == 1
    assert list((tmp_path / "jobs").iterdir()) == []
    assert server.request("GET", "/readyz").status == 200
    assert "Traceback" not in server.log(), server.log()
    assert server.wait_for(server.submit("noop"))["status"] == "completed"
