"""`GET /jobs/{id}/progress`, byte by byte."""

import contextlib
import http.client
import itertools
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import httpx_sse
import pytest

from tests.support.process import Event, ServerProcess, calm_s, eventually
from tests.support.raw import RawStream, assert_problem, data_of, id_of, is_state, send
from tests.support.representation import assert_representation
from tests.support.serving import LATER, Serving

HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store, no-transform",
    "X-Accel-Buffering": "no",
    "Transfer-Encoding": "chunked",
    "Server": "Headway",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@pytest.fixture(scope="module")
def walked(server: ServerProcess) -> Any:
    """A job with log lines that has completed."""
    return server.wait_for(server.submit("steps-async", {"steps": 4, "step_s": 0.15}))


def history(server: ServerProcess, path: str, last_event_id: int | str | None = None) -> list[Event]:
    """What a stream says until its end."""
    headers = {} if last_event_id is None else {"Last-Event-ID": str(last_event_id)}
    return list(server.events(path, headers))


def line_ids(server: ServerProcess, job_id: str) -> list[int]:
    return [line["seq"] for line in server.request("GET", f"/jobs/{job_id}/logs?limit=1000").json["lines"]]


# Bytes


def test_a_stream_has_exactly_these_headers(server: ServerProcess, walked: Any) -> None:
    with RawStream(server, walked["progressUrl"]) as stream:
        assert stream.status == 200
        changing = {"Date", "X-Request-ID"}
        assert {name: value for name, value in stream.headers.items() if name not in changing} == HEADERS


@pytest.mark.parametrize("accepted", ["gzip, deflate, br", "*"])
def test_a_stream_is_never_compressed(server: ServerProcess, walked: Any, accepted: str) -> None:
    with RawStream(server, walked["progressUrl"], [("Accept-Encoding", accepted)]) as stream:
        assert "Content-Encoding" not in stream.headers
        assert next(stream.frames()).startswith(b"event: log\n")


def test_a_stream_greets_at_once_and_spreads_its_watchers(server: ServerProcess) -> None:
    job_id = server.submit("noop", query=LATER)
    seen = set()
    for _ in range(8):
        with RawStream(server, f"/jobs/{job_id}/progress") as stream:
            retry = stream.frame()
            assert retry is not None
            found = re.fullmatch(rb"retry: (\d+)\n", retry)
            assert found, retry
            assert stream.frame() == b": connected\n"
            seen.add(int(found[1]))
    assert len(seen) > 1
    assert all(1_000 <= retry_ms <= 4_000 for retry_ms in seen)


def test_every_frame_has_one_of_these_forms(server: ServerProcess) -> None:
    job_id = server.submit("steps-async", {"steps": 8, "step_s": 0.25})
    forms = {
        "log": re.compile(
            rb'event: log\nid: \d+\ndata: \{"seq":\d+,"at":"[^"]+","level":"info","message":"[^\n\r]+\}\n\n'
        ),
        "state": re.compile(rb'id: \d+\ndata: \{"jobId":[^\n\r]+\}\n\n'),
        "tick": re.compile(rb'data: \{"jobId":[^\n\r]+\}\n\n'),
    }
    seen = []
    with RawStream(server, f"/jobs/{job_id}/progress") as stream:
        for frame in stream.frames():
            assert b"\r" not in frame
            matching = [name for name, form in forms.items() if form.fullmatch(frame)]
            assert len(matching) == 1, frame
            seen += matching
        assert stream.ended
    assert set(seen) == set(forms)
    # Lines that were there before the watcher come before its first state.
    assert next(name for name in seen if name != "log") == seen[-1] == "state"


def test_a_finished_job_is_its_tail_its_end_and_a_clean_close(server: ServerProcess, walked: Any) -> None:
    with RawStream(server, walked["progressUrl"]) as stream:
        frames = list(stream.frames())
        assert stream.ended
        stream.socket.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")  # the connection lives on
        assert stream.socket.recv(100).startswith(b"HTTP/1.1 200")
    ids = line_ids(server, walked["jobId"])
    assert [id_of(frame) for frame in frames[:-1]] == ids
    assert id_of(frames[-1]) == ids[-1] + 1
    state = data_of(frames[-1])
    assert_representation(state)
    assert {name: value for name, value in walked.items() if name in state} == state


def test_a_log_event_is_the_line_of_the_log(server: ServerProcess, walked: Any) -> None:
    lines = server.request("GET", f"/jobs/{walked['jobId']}/logs").json["lines"]
    assert [event.data for event in history(server, walked["progressUrl"]) if event.name == "log"] == lines


@pytest.mark.parametrize(("version", "headers"), [("1.0", ()), ("1.1", (("Connection", "close"),))])
def test_a_client_that_closes_gets_the_same_stream(
    server: ServerProcess, walked: Any, version: str, headers: tuple[tuple[str, str], ...]
) -> None:
    with RawStream(server, walked["progressUrl"], headers, version=version) as stream:
        frames = list(stream.frames())
        assert stream.headers.get("Connection", "close") == "close"
        assert ("Transfer-Encoding" in stream.headers) == (version == "1.1")
        assert stream.socket.recv(100) == b""
    with RawStream(server, walked["progressUrl"]) as stream:
        assert list(stream.frames()) == frames


def test_a_silent_stream_says_something_at_its_heartbeat(serving: Serving) -> None:
    server = serving(":memory:", env={"HEADWAY_HEARTBEAT_S": "0.3"})
    job_id = server.submit("noop", query=LATER)
    for path in (f"/jobs/{job_id}/progress", "/jobs/progress"):
        with RawStream(server, path) as stream:
            before_s, calm_before_s, comments = time.monotonic(), calm_s(), 0
            while comments < 3:
                comments += stream.frame() == b": keep-alive\n"
            assert time.monotonic() - before_s > 0.8
            assert calm_s() - calm_before_s < 5


# State and history


def test_the_limit_of_ticks_can_be_lifted(serving: Serving) -> None:
    server = serving(":memory:", env={"HEADWAY_TICK_S": "0"})
    ended = server.wait_for(server.submit("steps-async", {"steps": 300, "step_s": 0.001}))
    assert ended["version"] >= 300  # each step was published; ten a second would be a handful


def test_states_tell_the_life_of_a_job(server: ServerProcess) -> None:
    job_id = server.submit("steps-async", {"steps": 8, "step_s": 0.15})
    states, ids = [], []
    with RawStream(server, f"/jobs/{job_id}/progress") as stream:
        for frame in stream.frames():
            if is_state(frame):
                states.append(data_of(frame))
                ids.append(id_of(frame))
    for state in states:
        assert_representation(state)
    assert [state["version"] for state in states] == sorted({state["version"] for state in states})
    assert [state["progress"] or 0 for state in states] == sorted(state["progress"] or 0 for state in states)
    assert states[-1]["status"] == "completed"
    changed = [True, *(before["status"] != after["status"] for before, after in itertools.pairwise(states))]
    assert [id is not None for id in ids] == changed
    assert ids.count(None) >= 4


def test_a_queued_job_starts_with_its_state_and_the_id_one(server: ServerProcess) -> None:
    job_id = server.submit("noop", query=LATER)
    with RawStream(server, f"/jobs/{job_id}/progress") as stream:
        frame = next(stream.frames())
        assert (id_of(frame), data_of(frame)["status"]) == (1, "queued")
        assert server.request("DELETE", f"/jobs/{job_id}").status == 204
        frame = next(stream.frames())
        assert (id_of(frame), data_of(frame)["status"]) == (2, "cancelled")
        assert stream.frame() is None


def test_log_lines_come_before_the_state_that_includes_them(server: ServerProcess) -> None:
    for _ in range(3):
        job_id = server.submit("chatty", {"steps": 50})
        last = 0
        for event in server.events(f"/jobs/{job_id}/progress"):
            if event.id is not None:
                assert int(event.id) > last
                last = int(event.id)
            if event.name == "log":
                assert event.data["seq"] == last
        assert line_ids(server, job_id)[-1] == last - 1


def test_a_stream_opens_with_the_last_two_hundred_lines(server: ServerProcess) -> None:
    job_id = server.submit("chatty", {"steps": 250})
    server.wait_for(job_id)
    ids = line_ids(server, job_id)
    assert len(ids) == 250
    events = history(server, f"/jobs/{job_id}/progress")
    assert [int(event.id or 0) for event in events] == [*ids[-200:], ids[-1] + 1]


def test_nothing_is_missed_however_many_lines_there_are(server: ServerProcess) -> None:
    job_id = server.submit("chatty", {"steps": 450, "step_s": 0.3})
    events = history(server, f"/jobs/{job_id}/progress", 1)
    assert [int(event.id or 0) for event in events if event.name == "log"] == line_ids(server, job_id)
    assert events[-1].data["status"] == "completed"


def test_no_event_is_named_error_and_every_event_has_data(server: ServerProcess) -> None:
    for job_type in ("fails", "raises-async"):
        job_id = server.submit(job_type, {"text": "x"})
        with RawStream(server, f"/jobs/{job_id}/progress") as stream:
            frames = list(stream.frames())
        assert data_of(frames[-1])["status"] == "failed"
        for frame in frames:
            assert b"event: error" not in frame
            assert b"data: " in frame
        assert_representation(data_of(frames[-1]))


def test_a_stock_client_reads_the_stream(server: ServerProcess) -> None:
    job_id = server.submit("steps-async", {"steps": 3, "step_s": 0.2})
    url = f"http://127.0.0.1:{server.port}/jobs/{job_id}/progress"
    with httpx.Client(timeout=30) as client, httpx_sse.connect_sse(client, "GET", url) as source:
        events = list(source.iter_sse())
    assert {event.event for event in events} == {"message", "log"}
    assert 1_000 <= (events[0].retry or 0) <= 4_000
    states = [event.json() for event in events if event.event == "message"]
    assert states[-1]["status"] == "completed"
    assert all({"status", "progress"} <= state.keys() for state in states)
    last = events[-1].id
    with httpx.Client(timeout=30) as client:
        assert client.get(url, headers={"Last-Event-ID": last}).status_code == 204


# Resuming


def test_a_finished_job_resumes_from_each_of_its_ids(server: ServerProcess, walked: Any) -> None:
    path, ids = walked["progressUrl"], line_ids(server, walked["jobId"])
    last = ids[-1] + 1
    for cursor in range(1, last):
        for events in (history(server, path, cursor), history(server, f"{path}?lastEventId={cursor}")):
            assert [int(event.id or 0) for event in events] == [*(id for id in ids if id > cursor), last]
            assert events[-1].data["status"] == "completed"


def test_the_very_last_id_is_a_204(server: ServerProcess, walked: Any) -> None:
    path, last = walked["progressUrl"], line_ids(server, walked["jobId"])[-1] + 1
    for reply in (
        send(server, "GET", path, [("Last-Event-ID", str(last))]),
        send(server, "GET", f"{path}?lastEventId={last}"),
        send(server, "GET", f"{path}?lastEventId=1", [("Last-Event-ID", str(last))]),
        send(server, "HEAD", path, [("Last-Event-ID", str(last))]),
    ):
        assert (reply.status, reply.body) == (204, b"")


def test_the_header_wins_over_the_parameter(server: ServerProcess, walked: Any) -> None:
    path, ids = walked["progressUrl"], line_ids(server, walked["jobId"])
    events = history(server, f"{path}?lastEventId={ids[-1] + 1}", ids[-1])
    assert [event.id for event in events] == [str(ids[-1] + 1)]


ODD_EVENT_IDS = (
    "x",
    "-1",
    "0",
    "1.0",
    "999",
    "9" * 30,
    "+1",
    " 1x",
    "0x1",
    "\xb2",
    "٣",
    "null",
    "1,2",
    "1;2",
    "9" * 5000,
)


@pytest.mark.parametrize("given", ODD_EVENT_IDS, ids=lambda value: value[:10])
def test_an_id_that_cannot_be_placed_is_a_reset(server: ServerProcess, walked: Any, given: str) -> None:
    path = walked["progressUrl"]
    fresh = history(server, path)
    reset = Event("reset", None, {"jobId": walked["jobId"]})
    assert history(server, f"{path}?lastEventId={quote(given)}") == [reset, *fresh]
    with RawStream(server, path, [("Last-Event-ID", given.encode().decode("latin-1"))]) as stream:
        assert next(stream.frames()) == b'event: reset\ndata: {"jobId":"%s"}\n\n' % walked["jobId"].encode()


def test_an_empty_id_is_none(server: ServerProcess, walked: Any) -> None:
    assert history(server, walked["progressUrl"], "") == history(server, walked["progressUrl"])


def test_a_running_job_resumes_from_each_of_its_ids(server: ServerProcess) -> None:
    job_id = server.submit("chatty", {"steps": 5, "step_s": 60})
    eventually(lambda: len(line_ids(server, job_id)) == 5)
    path, ids = f"/jobs/{job_id}/progress", line_ids(server, job_id)
    for cursor in range(1, ids[-1] + 1):
        with RawStream(server, path, [("Last-Event-ID", str(cursor))]) as stream:
            frames = stream.frames()
            missed = [id for id in ids if id > cursor]
            assert [id_of(next(frames)) for _ in missed] == missed
            state = next(frames)
            assert is_state(state)
            assert (id_of(state), data_of(state)["status"]) == (ids[-1], "running")
    with RawStream(server, path, [("Last-Event-ID", str(ids[-1] + 1))]) as stream:
        assert next(stream.frames()).startswith(b"event: reset\n")
    server.request("DELETE", f"/jobs/{job_id}")


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_a_stream_resumes_over_a_restart(serving: Serving, tmp_path: Path, how: str) -> None:
    server = serving(tmp_path)
    job_id = server.submit("steps-async", {"steps": 12, "step_s": 0.15})
    ended_id = server.submit("chatty", {"steps": 3})
    server.wait_for(ended_id)
    path, seen, last_version = f"/jobs/{job_id}/progress", list[int](), 0
    for event in server.events(path):
        seen += [event.data["seq"]] if event.name == "log" else []
        last_version = event.data.get("version", last_version)
        if len(seen) == 4:
            break
    getattr(server, how)()
    server.restart()
    versions = []
    for event in server.events(path, {"Last-Event-ID": str(seen[-1])}):
        assert event.name in (None, "log")
        seen += [event.data["seq"]] if event.name == "log" else []
        versions += [event.data["version"]] if event.name is None else []
    assert seen == line_ids(server, job_id)
    assert [last_version, *versions] == sorted({last_version, *versions})
    assert server.job(job_id)["status"] == "completed"
    ids = line_ids(server, ended_id)
    assert [int(event.id or 0) for event in history(server, f"/jobs/{ended_id}/progress", ids[0])] == [
        *ids[1:],
        ids[-1] + 1,
    ]
    last = send(server, "GET", f"/jobs/{ended_id}/progress", [("Last-Event-ID", str(ids[-1] + 1))])
    assert last.status == 204


# Purged while watched


def test_a_queued_job_that_is_purged_ends_before_it_is_gone(server: ServerProcess) -> None:
    job_id = server.submit("noop", query=LATER)
    with RawStream(server, f"/jobs/{job_id}/progress") as stream:
        assert data_of(next(stream.frames()))["status"] == "queued"
        server.request("DELETE", f"/jobs/{job_id}?purge=true")
        terminal, gone = list(stream.frames())
    assert (data_of(terminal)["status"], id_of(terminal)) == ("cancelled", 2)
    assert gone == b'event: gone\ndata: {"jobId":"%s"}\n\n' % job_id.encode()


def test_a_running_job_that_is_purged_ends_before_it_is_gone(server: ServerProcess) -> None:
    job_id = server.submit("steps-async", {"steps": 1000, "step_s": 0.05})
    with RawStream(server, f"/jobs/{job_id}/progress") as stream:
        frames = stream.frames()
        assert any(is_state(frame) and data_of(frame)["done"] for frame in frames)
        server.request("DELETE", f"/jobs/{job_id}?purge=true")
        *_, terminal, gone = frames
        assert stream.ended
    assert data_of(terminal)["status"] == "cancelled"
    assert id_of(terminal) is not None
    assert gone == b'event: gone\ndata: {"jobId":"%s"}\n\n' % job_id.encode()
    assert_problem(server.request("GET", f"/jobs/{job_id}/progress"), 404, "not-found")


# Readers that do not read, and those that leave


def open_files(server: ServerProcess) -> int:
    return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


def versions_of(job_id: str, frames: Iterator[bytes]) -> Iterator[int]:
    """The versions of one job's states in a stream of many."""
    mark = b'data: {"jobId":"%s"' % job_id.encode()
    return (data_of(frame)["version"] for frame in frames if frame.startswith(mark))


def test_a_slow_reader_skips_states_and_delays_nobody(serving: Serving) -> None:
    server = serving(":memory:", "--max-tasks", "40")
    # Forty jobs whose states are 4 kB, ten times a second: what a kernel holds for a reader is full in seconds.
    label = quote("😀" * 200)
    jobs = [server.submit("storms", {"steps": 100_000, "step_s": 0.05}, f"?label={label}") for _ in range(40)]
    with (
        RawStream(server, "/jobs/progress", receive_buffer=4096) as slow,
        RawStream(server, "/jobs/progress") as quick,
    ):
        quick_versions = list(itertools.islice(versions_of(jobs[0], quick.frames()), 60))
        steps = [after - before for before, after in itertools.pairwise(quick_versions)]
        newest = server.job(jobs[0])["version"]
        slow_versions = []
        for version in versions_of(jobs[0], slow.frames()):
            slow_versions.append(version)
            if version >= newest:
                break
    assert quick_versions == sorted(set(quick_versions))
    assert slow_versions == sorted(set(slow_versions))
    skipped = max(after - before for before, after in itertools.pairwise(slow_versions))
    assert skipped > max(10, *steps), "the slow reader was sent everything"


def test_streams_whose_clients_leave_are_closed(serving: Serving) -> None:
    server = serving()
    job_id = server.submit("noop", query=LATER)
    before = open_files(server)
    with contextlib.ExitStack() as stack:
        for path in (f"/jobs/{job_id}/progress", "/jobs/progress"):
            for _ in range(20):
                assert next(stack.enter_context(RawStream(server, path)).frames())
        assert open_files(server) > before + 30
    eventually(lambda: open_files(server) <= before, "a stream outlived its client")


def test_clients_that_leave_immediately_cause_no_error(server: ServerProcess) -> None:
    job_id = server.submit("noop", query=LATER)
    for _ in range(30):
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        connection.request("GET", f"/jobs/{job_id}/progress")
        connection.close()
    assert server.request("GET", "/healthz").status == 200
