"""Ready responses are byte for byte what aiohttp would send, and serve only requests that they may serve."""

import contextlib
import re
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.process import WAIT_TIMEOUT_S, ServerProcess, eventually
from tests.support.raw import RawReply, parse
from tests.support.serving import LATER, Serving

DATE = re.compile(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT")


class Kept:
    """A connection that is kept, as it is on the wire."""

    def __init__(self, server: ServerProcess) -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_TIMEOUT_S)
        self._received = b""

    def send(self, method: str, path: str, *headers: str, version: str = "1.1", times: int = 1) -> None:
        lines = [f"{method} {path} HTTP/{version}", "Host: localhost", *headers, "", ""]
        self.socket.sendall("\r\n".join(lines).encode() * times)

    def answer(self, *, body: bool = True) -> RawReply:
        while b"\r\n\r\n" not in self._received:
            self._more()
        reply = parse(self._received.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
        head_bytes = self._received.index(b"\r\n\r\n") + 4
        length = int(reply.headers.get("Content-Length", 0)) if body else 0
        while len(self._received) < head_bytes + length:
            self._more()
        whole, self._received = self._received[: head_bytes + length], self._received[head_bytes + length :]
        return parse(whole)

    def _more(self) -> None:
        chunk = self.socket.recv(65536)
        assert chunk, "the server closed the connection"
        self._received += chunk


@contextlib.contextmanager
def connected(server: ServerProcess) -> Iterator[Kept]:
    connection = Kept(server)
    with contextlib.closing(connection.socket):
        yield connection


@pytest.fixture
def kept(server: ServerProcess) -> Iterator[Kept]:
    with connected(server) as connection:
        yield connection


@pytest.fixture(params=["queued", "running", "completed", "failed"])
def job_id(server: ServerProcess, request: pytest.FixtureRequest) -> Iterator[str]:
    """A job in each state that does not change by itself."""
    if request.param == "queued":
        made = server.submit("noop", query=LATER)
    elif request.param == "running":
        made = server.submit("steps-async", {"steps": 1, "step_s": 60})
        assert any(state["message"] for state in server.states(made))
    else:
        made = server.submit("fails", {"text": "ü"}) if request.param == "failed" else server.submit("noop")
        server.wait_for(made)
    yield made
    server.request("DELETE", f"/jobs/{made}?purge=true")


def without_what_is_its_own(reply: RawReply) -> tuple[int, dict[str, str], bytes]:
    headers = dict(reply.headers)
    assert DATE.fullmatch(headers.pop("Date"))
    headers.pop("Connection", None)
    assert headers.pop("X-Request-ID")
    return reply.status, headers, reply.body


def test_a_ready_response_equals_an_ordinary_one(server: ServerProcess, kept: Kept, job_id: str) -> None:
    path = f"/jobs/{job_id}"
    kept.send("GET", path, times=2)
    first, second = kept.answer(), kept.answer()
    assert "Connection" not in second.headers
    condition = f"If-None-Match: {first.headers['ETag']}"
    kept.send("GET", path, condition)
    not_modified = kept.answer()
    assert (not_modified.status, not_modified.body) == (304, b"")
    # aiohttp makes the answers to these itself.
    for version, connection in (("1.0", "keep-alive"), ("1.1", "close")):
        for headers, ready in (([], first), ([], second), ([condition], not_modified)):
            with connected(server) as other:
                other.send("GET", path, f"Connection: {connection}", *headers, version=version)
                ordinary = other.answer()
            assert ordinary.headers["Connection"] == connection
            assert without_what_is_its_own(ordinary) == without_what_is_its_own(ready)


def test_head_has_the_headers_alone(kept: Kept, job_id: str) -> None:
    kept.send("GET", f"/jobs/{job_id}", times=2)
    kept.answer()
    whole = kept.answer()
    kept.send("HEAD", f"/jobs/{job_id}")
    head = kept.answer(body=False)
    assert without_what_is_its_own(head) == (*without_what_is_its_own(whole)[:2], b"")


def test_requests_in_one_packet_are_answered_in_order_on_one_connection(kept: Kept, job_id: str) -> None:
    path = f"/jobs/{job_id}"
    kept.send("GET", path)
    etag = kept.answer().headers["ETag"]
    for _ in range(3):
        kept.send("GET", path, times=3)
        kept.send("GET", path, f"If-None-Match: {etag}", times=2)
        kept.send("GET", "/healthz")
        statuses = [kept.answer().status for _ in range(6)]
        assert statuses[:3] == [statuses[0]] * 3
        assert statuses[3:] == [304, 304, 200]


def test_a_connection_that_is_to_close_is_closed(server: ServerProcess, job_id: str) -> None:
    for version, header in (("1.0", "X-Any: 1"), ("1.1", "Connection: close")):
        with connected(server) as connection:
            connection.send("GET", f"/jobs/{job_id}", header, version=version)
            assert connection.answer().body
            assert connection.socket.recv(1) == b""


def test_a_cached_response_of_an_older_version_is_not_sent(server: ServerProcess, kept: Kept) -> None:
    job_id = server.submit("says", {"text": "hello"}, LATER)

    def poll() -> Any:
        kept.send("GET", f"/jobs/{job_id}", times=2)
        first, second = kept.answer(), kept.answer()
        assert first.body == second.body
        return second.json

    assert poll()["status"] == "queued"
    server.request("DELETE", f"/jobs/{job_id}")
    assert (poll()["status"], poll()["cancelRequested"]) == ("cancelled", True)
    job_id = server.submit("says", {"text": "hello"})
    server.wait_for(job_id)
    assert poll()["result"] == "hello"
    server.request("DELETE", f"/jobs/{job_id}/result")
    assert poll()["result"] is None
    server.request("DELETE", f"/jobs/{job_id}?purge=true")
    assert poll()["status"] == 404


def test_the_queue_position_changes_without_a_new_version(serving: Serving) -> None:
    server = serving(":memory:", "--max-tasks", "1")
    server.wait_for(server.submit("steps-async", {"steps": 1, "step_s": 60}), "running")
    ahead, behind = server.submit("noop"), server.submit("noop")
    with connected(server) as kept:

        def poll() -> Any:
            kept.send("GET", f"/jobs/{behind}")
            return kept.answer().json

        before = poll()
        assert before["queuePosition"] == 2
        server.request("DELETE", f"/jobs/{ahead}")
        after = eventually(lambda: (job := poll())["queuePosition"] == 1 and job)
        assert after["version"] == before["version"]
