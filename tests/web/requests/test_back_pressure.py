"""Bodies that stall and disks that fill up: refused in time, by the contract, and nothing is left behind."""

import contextlib
import json
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.disks import CannotMountError, mounted
from tests.support.process import WAIT_TIMEOUT_S, Reply, ServerProcess, eventually, multipart
from tests.support.serving import Serving

BODY_TIMEOUT_S = 0.6
SPARE_BYTES = 64 * 1024 * 1024
"""Other programs may use the disk too."""
UPLOAD, FORM = multipart({"document": b"line\n" * 1_000})


def _head(path: str, content_type: str, length: int) -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def _answer(connection: socket.socket) -> tuple[int, Any]:
    received = b"".join(iter(lambda: connection.recv(65536), b""))  # until the server closes
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def _impatient(serving: Serving, folder: Path) -> ServerProcess:
    return serving(folder, env={"HEADWAY_BODY_TIMEOUT_S": str(BODY_TIMEOUT_S)})


@pytest.mark.parametrize(
    ("path", "content_type", "body"),
    [("/jobs/says", "application/json", b'{"text": "hello"}'), ("/jobs/reads-upload", FORM, UPLOAD)],
    ids=["json", "upload"],
)
@pytest.mark.parametrize("share", [0.0, 0.7])
def test_a_body_that_stalls_is_given_up_with_a_408(
    serving: Serving, tmp_path: Path, path: str, content_type: str, body: bytes, share: float
) -> None:
    server = _impatient(serving, tmp_path)
    with socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_TIMEOUT_S) as connection:
        connection.sendall(_head(path, content_type, len(body)) + body[: int(share * len(body))])
        started_s = time.monotonic()
        status, problem = _answer(connection)
        assert time.monotonic() - started_s >= BODY_TIMEOUT_S * 0.9
    assert (status, problem["type"]) == (408, "/problems/body-timeout")
    eventually(lambda: not any((tmp_path / "incoming").iterdir()))
    assert server.request("GET", "/jobs/stats").json["total"] == 0
    assert "Traceback" not in server.log(), server.log()


def test_a_slow_but_steady_upload_goes_on(serving: Serving, tmp_path: Path) -> None:
    server = _impatient(serving, tmp_path)
    with socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_TIMEOUT_S) as connection:
        connection.sendall(
            _head("/jobs/reads-upload", FORM, len(UPLOAD)).replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        )
        pieces = 20
        size = len(UPLOAD) // pieces + 1
        started_s = time.monotonic()
        for start in range(0, len(UPLOAD), size):
            connection.sendall(UPLOAD[start : start + size])
            time.sleep(BODY_TIMEOUT_S / 5)  # the pace of the client: that is the test
        assert time.monotonic() - started_s > 2 * BODY_TIMEOUT_S
        status, job = _answer(connection)
    assert status == 202
    assert server.wait_for(job["jobId"])["status"] == "completed"


@pytest.mark.parametrize(
    ("path", "content_type", "body"),
    [("/jobs/says", "application/json", b'{"text": "hello"}' + b" " * 1000), ("/jobs/reads-upload", FORM, UPLOAD)],
    ids=["json", "upload"],
)
def test_a_body_that_drips_is_given_up_with_a_408(
    serving: Serving, tmp_path: Path, path: str, content_type: str, body: bytes
) -> None:
    server = _impatient(serving, tmp_path)
    with socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_TIMEOUT_S) as connection:
        connection.sendall(_head(path, content_type, len(body)))
        connection.settimeout(BODY_TIMEOUT_S / 10)
        answer = None
        for byte in body:  # a byte far more often than the time-out: to wait for one would be to wait for ever
            connection.sendall(bytes([byte]))
            with contextlib.suppress(TimeoutError):
                answer = connection.recv(65536)
                break
    assert answer is not None
    assert answer.startswith(b"HTTP/1.1 408 ")
    eventually(lambda: not any((tmp_path / "incoming").iterdir()))
    assert server.request("GET", "/jobs/stats").json["total"] == 0


def _check_disk_full(reply: Reply) -> None:
    assert (reply.status, reply.json["type"]) == (503, "/problems/disk-full"), reply.body
    assert int(reply.headers["Retry-After"]) >= 1


def test_submissions_are_refused_before_they_fill_the_disk(serving: Serving, tmp_path: Path) -> None:
    kept_free = shutil.disk_usage(tmp_path).free + 1_000_000_000_000  # more than there is
    server = serving(tmp_path, env={"HEADWAY_MIN_FREE_BYTES": str(kept_free)})
    _check_disk_full(server.request("POST", "/jobs/noop", {}))
    _check_disk_full(server.request("POST", "/jobs", {"type": "noop"}))
    _check_disk_full(server.request("POST", "/jobs/reads-upload", UPLOAD, {"Content-Type": FORM}))
    # What can never be accepted is not to be tried again later.
    for path in ("/jobs/noop?priority=x", "/jobs?priority=x"):
        assert server.request("POST", path, {}).status == 422
    assert server.request("GET", "/jobs/stats").json["total"] == 0
    assert server.request("GET", "/jobs").status == 200
    assert not any((tmp_path / "incoming").iterdir())


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """One that nobody else writes to, where it can be mounted."""
    with contextlib.ExitStack() as stack:
        try:
            disk = stack.enter_context(mounted(tmp_path, 4 * SPARE_BYTES))
        except CannotMountError:
            disk = tmp_path
        yield disk


def test_an_upload_is_refused_for_its_length_and_one_of_unknown_length_in_its_course(
    disk: Path, serving: Serving
) -> None:
    free = shutil.disk_usage(disk).free
    spare = SPARE_BYTES
    data = disk / "data"
    server = serving(data, env={"HEADWAY_MIN_FREE_BYTES": str(free - spare)})
    body, content_type = multipart({"document": b"x" * (2 * spare)})
    assert server.wait_for(server.submit("noop"))["status"] == "completed"
    _check_disk_full(server.request("POST", "/jobs/reads-upload", body, {"Content-Type": content_type}))
    chunked = {"Content-Type": content_type, "Transfer-Encoding": "chunked", "Connection": "close"}
    size = 4 * 1024 * 1024
    chunks = [body[start : start + size] for start in range(0, len(body), size)]
    raw = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    head = "".join(f"{name}: {value}\r\n" for name, value in chunked.items())
    with socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_TIMEOUT_S) as connection:
        try:
            connection.sendall(f"POST /jobs/reads-upload HTTP/1.1\r\nHost: localhost\r\n{head}\r\n".encode() + raw)
        except ConnectionError:
            pass  # refused in its course: the server has closed
        else:
            status, problem = _answer(connection)
            assert (status, problem["type"]) == (503, "/problems/disk-full")
    eventually(lambda: not any((data / "incoming").iterdir()))
    assert server.request("GET", "/jobs/stats").json["total"] == 1
