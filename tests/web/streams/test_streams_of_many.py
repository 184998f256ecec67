"""`GET /jobs/progress`: one stream for many jobs."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.process import ServerProcess
from tests.support.raw import RawStream, assert_problem, data_of, id_of, is_state
from tests.support.representation import assert_representation
from tests.support.serving import LATER, Serving

HOLD = {"steps": 1, "step_s": 60}


def snapshot(frames: Iterator[bytes]) -> tuple[list[Any], int]:
    """The states before `ready`, and its total."""
    states: list[Any] = []
    for frame in frames:
        if frame.startswith(b"event: ready\n"):
            assert frame == b'event: ready\ndata: {"total":%d}\n\n' % data_of(frame)["total"]
            return states, data_of(frame)["total"]
        assert is_state(frame)
        assert id_of(frame) is None
        states.append(data_of(frame))
    raise AssertionError("the stream ended before it was ready")


def ids_of(states: list[Any]) -> list[str]:
    return [state["jobId"] for state in states]


def gone(job_id: str) -> bytes:
    return b'event: gone\ndata: {"jobId":"%s"}\n\n' % job_id.encode()


def until(frames: Iterator[bytes], job_id: str, status: str) -> list[Any]:
    """The states of a job up to the first with this status."""
    states = []
    for frame in frames:
        if is_state(frame) and data_of(frame)["jobId"] == job_id:
            states.append(data_of(frame))
            if states[-1]["status"] == status:
                return states
    raise AssertionError(f"{job_id} was never {status}: {states}")


def test_active_jobs_come_first_the_running_before_the_queued(serving: Serving) -> None:
    server = serving()
    waiting = [server.submit("noop", query=LATER) for _ in range(2)]
    running = [server.submit("steps-async", HOLD) for _ in range(2)]
    for job_id in running:
        server.wait_for(job_id, "running")
    with RawStream(server, "/jobs/progress") as stream:
        greeting = [stream.frame() for _ in range(2)]
        assert greeting[1] == b": connected\n"
        states, total = snapshot(stream.frames())
    assert set(ids_of(states)[:2]) == set(running)
    assert set(ids_of(states)[2:]) == set(waiting)
    assert total == 4
    for state in states:
        assert_representation(state)


def test_an_empty_server_is_ready_at_once(serving: Serving) -> None:
    with RawStream(serving(), "/jobs/progress") as stream:
        assert snapshot(stream.frames()) == ([], 0)


def test_what_ended_in_the_last_minute_is_shown_too(serving: Serving) -> None:
    server = serving()
    job_id = server.submit("noop")
    server.wait_for(job_id)
    waiting = server.submit("noop", query=LATER)
    with RawStream(server, "/jobs/progress") as stream:
        states, _ = snapshot(stream.frames())
    assert [(state["jobId"], state["status"]) for state in states] == [(waiting, "queued"), (job_id, "completed")]


def test_new_jobs_and_changes_come_after_ready(server: ServerProcess) -> None:
    with RawStream(server, "/jobs/progress?type=steps-async") as stream:
        frames = stream.frames()
        snapshot(frames)
        job_id = server.submit("steps-async", {"steps": 6, "step_s": 0.15})
        states = until(frames, job_id, "completed")
    versions = [state["version"] for state in states]
    assert versions == sorted(set(versions))
    assert len(states) > 4
    for state in states:
        assert_representation(state)


def test_a_stream_of_many_has_no_ids_and_every_connection_starts_afresh(server: ServerProcess) -> None:
    job_id = server.submit("noop", query=LATER)
    path = f"/jobs/progress?ids={job_id}"
    for headers, query in (((), ""), ((("Last-Event-ID", "7"),), ""), ((), "&lastEventId=x")):
        with RawStream(server, path + query, headers) as stream:
            states, total = snapshot(stream.frames())
            assert (ids_of(states), total) == ([job_id], 1)
    server.request("DELETE", f"/jobs/{job_id}")


def test_streams_can_be_filtered(server: ServerProcess) -> None:
    ids = [server.submit(job_type, query=LATER) for job_type in ("noop", "third-time", "polite-process")]
    cancelled = server.submit("noop", query=LATER)
    server.request("DELETE", f"/jobs/{cancelled}")
    everything = f"ids={','.join([*ids, cancelled])}"
    for query, expected in (
        ("type=noop", {ids[0], cancelled}),
        ("type=noop,third-time", {ids[0], ids[1], cancelled}),
        ("status=queued", set(ids)),
        ("status=cancelled,running", {cancelled}),
        ("type=noop&status=queued", {ids[0]}),
        ("type=unknown", set()),
    ):
        with RawStream(server, f"/jobs/progress?{everything}&{query}") as stream:
            states, total = snapshot(stream.frames())
            assert (set(ids_of(states)), total) == (expected, len(expected))
    for job_id in ids:
        server.request("DELETE", f"/jobs/{job_id}")


def test_a_stream_follows_jobs_by_their_metadata(server: ServerProcess) -> None:
    later = {"type": "noop", "runAt": "2999-01-01T00:00:00Z"}
    mine, other = (
        server.request("POST", "/jobs", {**later, "metadata": {"stream.of": owner}}).json["jobId"]
        for owner in ("Ada", "Bob")
    )
    with RawStream(server, "/jobs/progress?metadata.stream.of=Ada") as stream:
        frames = stream.frames()
        assert ids_of(snapshot(frames)[0]) == [mine]
        for job_id in (other, mine):
            server.request("DELETE", f"/jobs/{job_id}")
        assert data_of(next(frames))["jobId"] == mine


def test_a_filtered_stream_sends_nothing_else(server: ServerProcess) -> None:
    mine = server.submit("noop", query=LATER)
    with RawStream(server, f"/jobs/progress?ids={mine}") as stream:
        frames = stream.frames()
        snapshot(frames)
        for other in (server.submit("noop"), server.submit("noop", query=LATER)):
            server.request("DELETE", f"/jobs/{other}?purge=true")
        server.request("DELETE", f"/jobs/{mine}")
        assert data_of(next(frames))["jobId"] == mine


def test_a_job_that_leaves_the_filter_is_sent_once_more(server: ServerProcess) -> None:
    job_id, other = server.submit("noop", query=LATER), server.submit("noop", query=LATER)
    with RawStream(server, f"/jobs/progress?status=queued&ids={job_id},{other}") as stream:
        frames = stream.frames()
        snapshot(frames)
        server.request("DELETE", f"/jobs/{job_id}")
        state = data_of(next(frames))
        assert (state["jobId"], state["status"]) == (job_id, "cancelled")
        server.request("DELETE", f"/jobs/{job_id}?purge=true")
        server.request("DELETE", f"/jobs/{other}")
        assert data_of(next(frames))["jobId"] == other


def test_a_job_that_enters_the_filter_is_sent(server: ServerProcess) -> None:
    job_id = server.submit("noop", query=LATER)
    with RawStream(server, f"/jobs/progress?status=cancelled&ids={job_id}") as stream:
        frames = stream.frames()
        assert snapshot(frames) == ([], 0)
        server.request("DELETE", f"/jobs/{job_id}")
        assert data_of(next(frames))["status"] == "cancelled"


def test_a_purged_job_ends_before_it_is_gone(server: ServerProcess) -> None:
    waiting = server.submit("noop", query=LATER)
    ended = server.submit("noop")
    server.wait_for(ended)
    running = server.submit("steps-async", {"steps": 1000, "step_s": 0.05})
    server.wait_for(running, "running")
    with RawStream(server, f"/jobs/progress?ids={waiting},{ended},{running}") as stream:
        frames = stream.frames()
        snapshot(frames)
        server.request("DELETE", f"/jobs/{ended}?purge=true")
        assert next(frame for frame in frames if frame.startswith(b"event:")) == gone(ended)
        for job_id in (waiting, running):
            server.request("DELETE", f"/jobs/{job_id}?purge=true")
            until(frames, job_id, "cancelled")
            assert next(frame for frame in frames if job_id.encode() in frame) == gone(job_id)


def test_a_version_is_never_sent_twice(server: ServerProcess) -> None:
    job_id, other = server.submit("noop", query=LATER), server.submit("noop", query=LATER)
    with RawStream(server, f"/jobs/progress?ids={job_id},{other}") as stream:
        frames = stream.frames()
        snapshot(frames)
        for _ in range(3):  # only the first changes anything
            server.request("DELETE", f"/jobs/{job_id}")
        server.request("DELETE", f"/jobs/{other}")
        assert [data_of(next(frames))["jobId"] for _ in range(2)] == [job_id, other]


def test_log_lines_alone_are_no_new_state(server: ServerProcess) -> None:
    with RawStream(server, "/jobs/progress?type=murmurs") as stream:
        frames = stream.frames()
        snapshot(frames)
        job_id = server.submit("murmurs", {"steps": 4, "step_s": 0.25})
        versions = [state["version"] for state in until(frames, job_id, "completed")]
    assert versions == sorted(set(versions))


@pytest.fixture(scope="module")
def crowd(server: ServerProcess) -> list[str]:
    """201 queued jobs, oldest first."""
    return [server.submit("third-time", query=LATER) for _ in range(201)]


def test_at_most_two_hundred_active_jobs_are_shown(server: ServerProcess, crowd: list[str]) -> None:
    with RawStream(server, "/jobs/progress?type=third-time&status=queued") as stream:
        states, _ = snapshot(stream.frames())
    assert len(states) == 200


def test_a_purge_is_announced_to_streams_that_never_showed_the_job(server: ServerProcess, crowd: list[str]) -> None:
    with RawStream(server, "/jobs/progress?type=third-time") as stream:
        frames = stream.frames()
        states, _ = snapshot(frames)
        unseen = (set(crowd) - set(ids_of(states))).pop()
        server.request("DELETE", f"/jobs/{unseen}?purge=true")
        assert next(frames) == gone(unseen)


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("status=done", "/status/0"),
        ("surprise=1", "/surprise"),
        ("label=x", "/label"),
        ("limit=5", "/limit"),
        (f"ids={','.join(str(number) for number in range(501))}", "/ids"),
    ],
    ids=lambda value: value[:20],
)
def test_odd_filters_are_refused(server: ServerProcess, query: str, pointer: str) -> None:
    assert_problem(server.request("GET", f"/jobs/progress?{query}"), 422, "validation-failed", pointer)


def test_ids_of_unknown_jobs_cause_no_error(server: ServerProcess) -> None:
    with RawStream(server, "/jobs/progress?ids=x,%00,01900000-0000-7000-8000-000000000000") as stream:
        assert snapshot(stream.frames()) == ([], 0)
