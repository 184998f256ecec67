"""A full disk: 503 until there is room again, and never a 202 that is not durable.

The limit on the size of the server's files stands in for a full disk: both make write(2) fall short, then fail.
"""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.process import ServerProcess, eventually
from tests.support.raw import FORM, JSON, assert_problem, form, part, send
from tests.support.serving import LATER, Serving

MIB = 1024 * 1024


@contextmanager
def files_no_bigger_than(server: ServerProcess, size_bytes: int) -> Iterator[None]:
    pid = server.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


def test_a_store_that_cannot_write_refuses_until_it_can(serving: Serving, tmp_path: Path) -> None:
    server = serving(tmp_path)
    accepted = [server.submit("noop", query=LATER) for _ in range(20)]
    with files_no_bigger_than(server, (tmp_path / "headway.db-wal").stat().st_size):
        for _ in range(3):
            reply = send(server, "POST", "/jobs/noop", JSON, b"{}")
            assert_problem(reply, 503, "store-unavailable")
            assert int(reply.headers["Retry-After"]) >= 1
        assert_problem(send(server, "POST", "/jobs", JSON, b'{"type": "noop"}'), 503, "store-unavailable")
        assert_problem(send(server, "DELETE", f"/jobs/{accepted[0]}"), 503, "store-unavailable")
        assert_problem(send(server, "GET", "/readyz"), 503, "store-unavailable")
        assert send(server, "GET", "/healthz").status == 200
        assert send(server, "GET", f"/jobs/{accepted[0]}").json["status"] == "queued"
    eventually(lambda: send(server, "GET", "/readyz").status == 200)
    accepted.append(server.submit("noop", query=LATER))
    server.kill()
    server.restart()
    assert [job["jobId"] for job in server.request("GET", "/jobs").json["jobs"]] == accepted[::-1]


@pytest.mark.parametrize("size_bytes", [3 * MIB, 2 * MIB + MIB // 2 + 1000, 2 * MIB + MIB // 2 + 1])
def test_an_upload_that_does_not_fit_is_refused_and_leaves_nothing(
    serving: Serving, tmp_path: Path, size_bytes: int
) -> None:
    server = serving(tmp_path)
    body = form(part("document", b"x" * size_bytes, "a.txt"))
    with files_no_bigger_than(server, 2 * MIB + MIB // 2):
        assert_problem(send(server, "POST", "/jobs/reads-upload", FORM, body), 503, "store-unavailable")
    eventually(lambda: not list((tmp_path / "incoming").iterdir()))
    assert server.request("GET", "/jobs/stats").json["total"] == 0
    reply = send(server, "POST", "/jobs/reads-upload", FORM, body)
    job = server.wait_for(reply.json["jobId"])
    assert len(server.request("GET", job["resultUrl"]).json["text"]) == size_bytes
