"""Limits of streams, stalled readers, disconnected clients, and live frames over every version of HTTP."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.process import ServerProcess, eventually
from tests.support.raw import RawStream, assert_problem, data_of, is_state, send
from tests.support.serving import LATER, Serving


def assert_refused(server: ServerProcess, path: str) -> None:
    reply = send(server, "GET", path)
    assert_problem(reply, 429, "too-many-streams")
    assert 1 <= int(reply.headers["Retry-After"]) <= 60


@pytest.mark.parametrize("limit", ["HEADWAY_MAX_STREAMS", "HEADWAY_MAX_STREAMS_PER_CLIENT"])
def test_more_streams_than_the_limit_are_refused_until_one_ends(serving: Serving, limit: str) -> None:
    server = serving(":memory:", env={limit: "3"})
    job_id = server.submit("noop", query=LATER)
    path = f"/jobs/{job_id}/progress"
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(RawStream(server, where)) for where in (path, path, "/jobs/progress")]
        assert [stream.status for stream in streams] == [200] * 3
        for where in (path, "/jobs/progress"):
            assert_refused(server, where)
            assert send(server, "HEAD", where).status == 200  # it opens no stream
        assert server.request("GET", f"/jobs/{job_id}").status == 202  # polls are served
        streams.pop().close()
        eventually(lambda: send_stream_status(server, path) == 200)


def send_stream_status(server: ServerProcess, path: str) -> int:
    with RawStream(server, path) as stream:
        return stream.status


def test_the_different_filters_of_an_owner_are_limited(serving: Serving) -> None:
    server = serving(":memory:")
    most = server.request("GET", "/openapi.json").json["x-limits"]["maxFiltersPerOwner"]
    with contextlib.ExitStack() as stack:
        for number in range(most):
            assert stack.enter_context(RawStream(server, f"/jobs/progress?type=type-{number}")).status == 200
        assert send_stream_status(server, "/jobs/progress") == 429
        assert_refused(server, "/jobs/progress")
        assert f"{most} different filters" in send(server, "GET", "/jobs/progress").json["detail"]
        assert send_stream_status(server, "/jobs/progress?type=type-7") == 200, "one of these filters"


def test_a_stream_that_ends_by_itself_makes_room(serving: Serving) -> None:
    server = serving(":memory:", env={"HEADWAY_MAX_STREAMS": "1"})
    for _ in range(5):
        server.wait_for(server.submit("noop"))  # by its stream


def test_the_limits_are_published(serving: Serving) -> None:
    server = serving(":memory:", env={"HEADWAY_MAX_STREAMS": "7", "HEADWAY_MAX_STREAMS_PER_CLIENT": "5"})
    limits = server.request("GET", "/openapi.json").json["x-limits"]
    assert (limits["maxStreams"], limits["maxStreamsPerClient"]) == (7, 5)
    assert limits["streamStallTimeoutSeconds"] == 60


def test_a_low_limit_of_open_files_lowers_the_limit_of_streams() -> None:
    server = ServerProcess(":memory:")
    server._command = ["sh", "-c", 'ulimit -S -n 300; ulimit -H -n 700; exec "$@"', "sh", *server._command]
    with server:
        limits = Path(f"/proc/{server.process.pid}/limits").read_text()
        (line,) = (line for line in limits.splitlines() if line.startswith("Max open files"))
        assert line.split()[3:5] == ["700", "700"]
        assert server.request("GET", "/openapi.json").json["x-limits"]["maxStreams"] == 200


@pytest.mark.parametrize("many", [False, True])
def test_a_stalled_reader_is_cut_and_can_resume(serving: Serving, many: bool) -> None:
    server = serving(":memory:", env={"HEADWAY_STREAM_STALL_TIMEOUT_S": "1", "HEADWAY_TICK_S": "0.01"})
    job_id = server.submit("storms", {"steps": 1_000_000, "step_s": 0.005})
    path = "/jobs/progress" if many else f"/jobs/{job_id}/progress"
    with RawStream(server, path, receive_buffer=4096) as stalled, RawStream(server, path) as reader:
        frames = states(reader)
        before = open_sockets(server)
        eventually(lambda: next(frames) and open_sockets(server) < before)  # by us, or by the kernel for us
        with pytest.raises((AssertionError, ConnectionError)):  # what was on its way, and no end
            list(stalled.frames())
        assert not stalled.ended
        version = next(frames)["version"]
        with RawStream(server, path) as again:
            assert next(states(again))["version"] >= version
        server.request("DELETE", f"/jobs/{job_id}")
        assert any(state["status"] == "cancelled" for state in frames)


def open_sockets(server: ServerProcess) -> int:
    found = 0
    for file in Path(f"/proc/{server.process.pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found += str(file.readlink()).startswith("socket:")
    return found


def states(stream: RawStream) -> Iterator[dict[str, Any]]:
    return (data_of(frame) for frame in stream.frames() if is_state(frame))


def test_a_reader_that_is_slow_is_not_cut(serving: Serving) -> None:
    server = serving(":memory:", env={"HEADWAY_STREAM_STALL_TIMEOUT_S": "3", "HEADWAY_TICK_S": "0.01"})
    job_id = server.submit("storms", {"steps": 1_000_000, "step_s": 0.005})
    with RawStream(server, f"/jobs/{job_id}/progress", receive_buffer=4096) as slow:
        versions, end_s = [], time.monotonic() + 5  # longer than the one that takes nothing is given
        while time.monotonic() < end_s:
            frame = slow.frame()
            assert frame is not None
            if is_state(frame):
                versions.append(data_of(frame)["version"])
            time.sleep(0.1)
        newest = server.job(job_id)["version"]
        for state in states(slow):
            versions.append(state["version"])
            if versions[-1] >= newest:
                break
        assert versions == sorted(set(versions))
        assert "a stream was cut" not in server.log()
        server.request("DELETE", f"/jobs/{job_id}")
        assert [state["status"] for state in states(slow)][-1] == "cancelled"
        assert slow.ended


@pytest.mark.parametrize(("version", "headers"), [("1.0", ()), ("1.1", (("Connection", "close"),)), ("1.1", ())])
def test_live_frames_are_the_same_on_every_wire(
    server: ServerProcess, version: str, headers: tuple[tuple[str, str], ...]
) -> None:
    job_id = server.submit("steps-async", {"steps": 6, "step_s": 0.2})
    path = f"/jobs/{job_id}/progress"
    with RawStream(server, path, headers, version=version) as stream, RawStream(server, path) as other:
        frames, others = list(stream.frames()), list(other.frames())
        assert stream.ended
        if version == "1.1" and not headers:
            stream.socket.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")  # the connection lives on
            assert stream.socket.recv(100).startswith(b"HTTP/1.1 200")
        else:
            assert stream.socket.recv(100) == b""
    lines = [[frame for frame in each if not is_state(frame)] for each in (frames, others)]
    assert lines[0] == lines[1]
    versions = [
        {state["version"]: state for state in map(data_of, filter(is_state, each))} for each in (frames, others)
    ]
    shared = versions[0].keys() & versions[1].keys()
    assert len(shared) >= 3
    assert all(versions[0][version] == versions[1][version] for version in shared)
    assert frames[-1] == others[-1]
    assert data_of(frames[-1])["status"] == "completed"


def test_a_request_sent_behind_a_stream_is_answered_after_its_end(server: ServerProcess) -> None:
    job_id = server.submit("steps-async", {"steps": 4, "step_s": 0.2})
    with RawStream(server, f"/jobs/{job_id}/progress") as stream:
        stream.socket.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        frames = list(stream.frames())
        assert data_of(frames[-1])["status"] == "completed"
        answer = bytes(stream._received) or stream.socket.recv(100)  # it may have come with the last chunk
        assert answer.startswith(b"HTTP/1.1 200")
