"""Limits on connections: overdue heads, idle connections, and more connections than allowed."""

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.process import WAIT_TIMEOUT_S, ServerProcess, eventually
from tests.support.raw import FORM, RawStream, assert_problem, form, parse, part, read_to_end, request_bytes, send
from tests.support.serving import LATER, Serving

GET = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
HALF = b"GET /healthz HTTP/1.1\r\nHost: 127"


@contextlib.contextmanager
def connected(server: ServerProcess) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_TIMEOUT_S) as connection:
        yield connection


def answered(connection: socket.socket, request: bytes = GET) -> bool:
    """Whether the connection is still good for a request."""
    try:
        connection.sendall(request)
        return connection.recv(65536).startswith(b"HTTP/1.1 2")
    except ConnectionError:
        return False


def assert_given_up(connection: socket.socket) -> None:
    reply = parse(read_to_end(connection))
    assert reply.headers["Connection"] == "close"
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert (reply.status, reply.json["type"]) == (408, "/problems/head-timeout")


@pytest.fixture
def impatient(serving: Serving) -> ServerProcess:
    return serving(":memory:", env={"HEADWAY_HEAD_TIMEOUT_S": "0.3"})


@pytest.mark.parametrize(
    "begun", [b"G", b"GET /healthz HTTP/1.1\r\n", HALF, b"\r\n\r\nPOST /jobs/noop", b"\x16\x03\x01"]
)
@pytest.mark.parametrize("before", [b"", GET], ids=["first", "second"])
def test_a_head_that_does_not_arrive_is_a_408(impatient: ServerProcess, before: bytes, begun: bytes) -> None:
    with connected(impatient) as connection:
        if before:
            assert answered(connection, before)
        connection.sendall(begun)
        if begun.startswith(b"\x16"):
            assert parse(read_to_end(connection)).status == 400  # no head at all
        else:
            assert_given_up(connection)


def test_a_head_that_drips_is_a_408(impatient: ServerProcess) -> None:
    with connected(impatient) as connection:
        began_s = time.monotonic()
        with contextlib.suppress(ConnectionError):
            for line in range(1_000):
                connection.sendall(HALF if not line else b"\r\nX-a: b")
                time.sleep(0.05)  # the pace of the client: that is the test
        assert time.monotonic() - began_s < 20


def test_a_head_that_grows_without_end_is_a_400(serving: Serving) -> None:
    server = serving()
    with connected(server) as connection:
        with contextlib.suppress(ConnectionError):
            for line in range(10):  # less than the parser's own limits
                connection.sendall(HALF if not line else b"\r\nX-a: " + b"b" * 8_000)
                time.sleep(0.01)  # so that it arrives in pieces
        reply = parse(read_to_end(connection))
    assert (reply.status, reply.json["type"]) == (400, "/problems/malformed-request")
    assert "65,536 bytes" in reply.json["detail"]


def test_a_large_head_that_ends_is_read(serving: Serving) -> None:
    server = serving()
    head = GET[:-2] + b"".join(b"X-%d: %s\r\n" % (number, b"b" * 8_000) for number in range(5)) + b"\r\n"
    with connected(server) as connection:
        for _ in range(2):
            connection.sendall(head[:20_000])
            time.sleep(0.05)  # so that it arrives in pieces
            connection.sendall(head[20_000:])
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")


def test_the_rest_of_a_head_may_take_a_moment(serving: Serving) -> None:
    server = serving()
    with connected(server) as connection:
        for byte in GET:
            connection.sendall(bytes([byte]))
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        assert answered(connection)


def test_connections_in_use_are_not_closed(impatient: ServerProcess) -> None:
    job_id = impatient.submit("noop", query=LATER)
    upload = form(part("document", b"x" * 100_000, "a.txt"))
    head = request_bytes("POST", "/jobs/reads-upload", [*FORM, ("Content-Length", str(len(upload)))])
    with (
        connected(impatient) as silent,
        connected(impatient) as kept,
        connected(impatient) as empty_lines,
        connected(impatient) as uploading,
        connected(impatient) as polling,
        RawStream(impatient, f"/jobs/{job_id}/progress") as stream,
    ):
        assert answered(kept)
        empty_lines.sendall(b"\r\n\r\n")
        uploading.sendall(head + upload[:50_000])
        polling.sendall(f"GET /jobs/{job_id}?wait=50 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        for _ in range(3):  # as many times as long as a head may take
            with connected(impatient) as connection:
                connection.sendall(HALF)
                assert_given_up(connection)
        for connection in (silent, kept, empty_lines):
            assert answered(connection)
        uploading.sendall(upload[50_000:])
        assert uploading.recv(65536).startswith(b"HTTP/1.1 202")
        assert impatient.request("DELETE", f"/jobs/{job_id}").status == 204
        assert polling.recv(65536).startswith(b"HTTP/1.1 200")
        assert b'"cancelled"' in list(stream.frames())[-1]


def test_an_idle_connection_is_closed_after_a_time_out(serving: Serving) -> None:
    server = serving(":memory:", env={"HEADWAY_KEEP_ALIVE_S": "0.3"})
    with connected(server) as silent, connected(server) as kept:
        assert answered(kept)
        assert kept.recv(1) == b""
        assert silent.recv(1) == b""


def test_the_longest_idle_connection_is_closed_to_make_room_for_a_new_one(serving: Serving) -> None:
    server = serving(":memory:", env={"HEADWAY_MAX_CONNECTIONS": "4", "HEADWAY_MAX_STREAMS": "2"})
    job_id = server.submit("noop", query=LATER)
    with (
        RawStream(server, f"/jobs/{job_id}/progress") as stream,
        connected(server) as first,
        connected(server) as second,
        connected(server) as third,
    ):
        for each in (second, third, first):
            assert answered(each)
            time.sleep(0.02)  # the loop's clock counts milliseconds
        assert send(server, "GET", "/healthz").status == 200
        assert second.recv(1) == b""
        assert answered(third)
        assert answered(first)
        server.request("DELETE", f"/jobs/{job_id}")
        assert b'"cancelled"' in list(stream.frames())[-1]
    assert "all connections are in use" in server.log()


def test_a_new_connection_is_refused_when_all_are_busy(serving: Serving) -> None:
    server = serving(":memory:", env={"HEADWAY_MAX_CONNECTIONS": "3"})
    job_id = server.submit("noop", query=LATER)
    with contextlib.ExitStack() as stack:
        for _ in range(2):  # streams are never all of the connections
            stack.enter_context(RawStream(server, f"/jobs/{job_id}/progress"))
        polling = stack.enter_context(connected(server))
        polling.sendall(f"GET /jobs/{job_id}?wait=50 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        with connected(server) as refused:
            reply = parse(read_to_end(refused))
        assert (reply.status, reply.json["type"]) == (503, "/problems/too-many-connections")
        assert int(reply.headers["Retry-After"]) >= 1
        polling.close()
    assert server.request("GET", "/healthz").status == 200


def test_a_client_that_opens_too_many_connections_locks_nobody_out() -> None:
    server = ServerProcess(":memory:")
    server._command = ["sh", "-c", 'ulimit -n 300; exec "$@"', "sh", *server._command]
    with server, contextlib.ExitStack() as stack:
        limits = server.request("GET", "/openapi.json").json["x-limits"]
        assert (limits["maxConnections"], limits["maxStreams"]) == (150, 1)
        for _ in range(400):
            stack.enter_context(connected(server))
            if _ % 100 == 0:
                assert server.request("GET", "/healthz").status == 200
        assert server.wait_for(server.submit("ping"))["status"] == "completed"
        assert "Traceback" not in server.log()


def test_a_stalled_download_is_cut(serving: Serving) -> None:
    server = serving(":memory:", env={"HEADWAY_STREAM_STALL_TIMEOUT_S": "1"})
    job = server.wait_for(server.submit("writes-files", {"text": "x" * 900_000}))
    file = max(job["files"], key=lambda file: file["sizeBytes"])
    assert file["sizeBytes"] > 500_000
    with socket.socket() as stalled:
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stalled.connect(("127.0.0.1", server.port))
        stalled.sendall(f"GET {file['url']} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        eventually(lambda: held(server, stalled))
        eventually(lambda: not held(server, stalled), "the server still waits for the reader")


def held(server: ServerProcess, client: socket.socket) -> bool:
    """Whether the server's end of this connection is open. Source: proc(5), /proc/net/tcp; 0 is nobody's inode."""
    ends = f":{server.port:04X}", f":{client.getsockname()[1]:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any((row[1][8:], row[2][8:]) == ends and row[9] != "0" for row in rows)


# Long polls


@pytest.mark.parametrize("limit", ["HEADWAY_MAX_WAITS", "HEADWAY_MAX_WAITS_PER_CLIENT"])
def test_more_long_polls_than_the_limit_are_refused_until_one_ends(serving: Serving, limit: str) -> None:
    server = serving(":memory:", env={limit: "2"})
    job_id, running = server.submit("noop", query=LATER), server.submit("steps-async", {"steps": 100_000})
    path = f"/jobs/{job_id}?wait=50"
    with connected(server) as first, connected(server) as second:
        for connection in (first, second):
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        server.request("GET", "/healthz")  # asked for later, answered: the server reads in the order of arrival
        reply = send(server, "GET", path)
        assert_problem(reply, 429, "too-many-waits")
        assert 1 <= int(reply.headers["Retry-After"]) <= 60
        # Whoever need not wait, and whoever only prefers to, is answered.
        assert send(server, "GET", f"/jobs/{job_id}?wait=50", [("If-None-Match", '"0"')]).status == 202
        preferring = send(server, "GET", f"/jobs/{job_id}", [("Prefer", "wait=60")])
        assert (preferring.status, "Preference-Applied" in preferring.headers) == (202, False)
        submitted = send(server, "POST", f"/jobs/noop{LATER}", [("Prefer", "wait=60")])
        assert (submitted.status, "Preference-Applied" in submitted.headers) == (202, False)
        assert send(server, "DELETE", f"/jobs/{running}").status in (202, 204)
        assert send(server, "DELETE", f"/jobs/{job_id}").status == 204
        for connection in (first, second):
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
    other = server.submit("noop", query=LATER)
    assert send(server, "GET", f"/jobs/{other}?wait=0.01").status == 202
