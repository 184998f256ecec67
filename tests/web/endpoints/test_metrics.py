"""`/metrics`: what a real server counts, as Prometheus' own parser reads it."""

import sqlite3
from contextlib import closing
from pathlib import Path

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

from tests.support.metrics import metric, scrape, value
from tests.support.process import ServerProcess, eventually
from tests.support.raw import RawStream
from tests.support.serving import Serving


def test_jobs_are_counted_by_type_and_state(serving: Serving) -> None:
    server = serving()
    server.submit("one-at-a-time", {"steps": 1, "step_s": 60})
    server.wait_for(server.submit("noop"))
    server.submit("one-at-a-time", {"steps": 1})
    samples = scrape(server)
    assert value(samples, "headway_jobs", type="noop", status="completed") == 1
    assert value(samples, "headway_jobs", type="noop", status="queued") == 0
    assert value(samples, "headway_jobs", type="one-at-a-time", status="queued") == 1
    assert value(samples, "headway_jobs", type="one-at-a-time", status="running") == 1


def test_the_queue_is_as_old_as_the_job_that_has_waited_longest(serving: Serving) -> None:
    server = serving()
    server.submit("one-at-a-time", {"steps": 1, "step_s": 60})
    server.submit("noop", query="?runAt=2099-01-01T00:00:00Z")
    age = metric(server, "headway_queue_age_seconds", type="one-at-a-time")
    assert age() == 0
    server.submit("one-at-a-time", {"steps": 1})
    eventually(lambda: age() > 0.2, "the queue did not age")
    assert value(scrape(server), "headway_queue_age_seconds", type="noop") == 0


def test_attempts_are_counted_with_their_times_and_outcomes(serving: Serving) -> None:
    server = serving()
    server.wait_for(server.submit("steps-async", {"steps": 2, "step_s": 0.3}))
    server.wait_for(server.submit("fails", {"text": "x"}))
    server.submit("third-time")
    cancelled = server.submit("steps-async", {"steps": 1, "step_s": 60})
    server.wait_for(cancelled, "running")
    server.request("DELETE", f"/jobs/{cancelled}")
    ended = metric(server, "headway_job_run_seconds_count", type="steps-async", outcome="cancelled")
    eventually(lambda: ended() == 1, "the cancelled attempt was not counted")
    retried = metric(server, "headway_job_run_seconds_count", type="third-time", outcome="retry")
    eventually(lambda: retried() > 0, "the attempt that failed was not counted")
    samples = scrape(server)

    def ran(job_type: str, outcome: str, what: str = "count", **labels: str) -> float:
        return value(samples, f"headway_job_run_seconds_{what}", type=job_type, outcome=outcome, **labels)

    assert ran("fails", "failed") == 1
    assert ran("steps-async", "completed") == 1
    assert ran("steps-async", "completed", "sum") >= 0.6
    assert ran("steps-async", "completed", "bucket", le="0.5") == 0
    assert ran("steps-async", "completed", "bucket", le="+Inf") == 1
    assert value(samples, "headway_job_wait_seconds_count", type="steps-async") == 2


def test_commits_and_the_loop_are_timed(serving: Serving) -> None:
    server = serving()
    server.wait_for(server.submit("noop"))
    samples = scrape(server)
    assert value(samples, "headway_commit_seconds_count") >= 3  # accepted, claimed, ended
    assert value(samples, "headway_commit_seconds_sum") > 0
    assert value(samples, "headway_commit_operations_sum") >= value(samples, "headway_commit_operations_count")
    beats = value(samples, "headway_event_loop_lag_seconds_count")
    eventually(lambda: metric(server, "headway_event_loop_lag_seconds_count")() > beats, "the loop was not timed")


def test_a_blocked_loop_shows_as_lag(serving: Serving) -> None:
    server = serving()
    server.wait_for(server.submit("blocks-the-loop", {"step_s": 1.5}))
    samples = scrape(server)
    late = value(samples, "headway_event_loop_lag_seconds_count")
    assert value(samples, "headway_event_loop_lag_seconds_bucket", le="0.5") < late
    assert value(samples, "headway_event_loop_lag_seconds_sum") > 1


def test_requests_are_counted_by_route_and_status(serving: Serving) -> None:
    server = serving()
    job_id = server.submit("noop")
    server.wait_for(job_id)
    reads = value(scrape(server), "headway_requests_total", method="GET", route="/jobs/{id}", status="200")
    for _ in range(3):
        server.request("GET", f"/jobs/{job_id}?secret=1")
        server.request("GET", f"/jobs/{job_id}")
    server.request("GET", "/nowhere/at/all")
    server.request("PROPFIND", "/jobs")
    samples = scrape(server)

    def answered(method: str, route: str, status: int, name: str = "headway_requests_total") -> float:
        return value(samples, name, method=method, route=route, status=str(status))

    assert answered("GET", "/jobs/{id}", 200) == reads + 3
    assert answered("GET", "/jobs/{id}", 422) == 3
    assert answered("GET", "/jobs/{id}", 422, "headway_request_seconds_count") == 3
    assert answered("GET", "unknown", 404) == 1
    assert answered("other", "unknown", 405) == 1
    assert not [name for name, _ in samples if "secret" in name]
    assert not [labels for _, labels in samples if any(job_id in text for _, text in labels)]


def test_a_stream_is_open_until_it_ends_and_has_no_duration(serving: Serving) -> None:
    server = serving()
    job_id = server.submit("steps-async", {"steps": 1, "step_s": 60})
    is_open = metric(server, "headway_streams_open")
    assert is_open() == 0
    stream = RawStream(server, f"/jobs/{job_id}/progress")
    try:
        assert is_open() == 1
        assert metric(server, "headway_stream_frames_skipped_total")() == 0
    finally:
        stream.close()
    eventually(lambda: is_open() == 0, "the stream stayed open")
    assert metric(server, "headway_stream_frames_sent_total")() >= 2  # the greeting, and the state
    route = {"method": "GET", "route": "/jobs/{id}/progress", "status": "200"}
    eventually(lambda: metric(server, "headway_requests_total", **route)() == 1, "the stream was not counted")
    assert value(scrape(server), "headway_request_seconds_count", **route) == 0


def test_the_process_is_measured_too(server: ServerProcess) -> None:
    samples = scrape(server)
    assert value(samples, "process_resident_memory_bytes") > 10_000_000
    assert value(samples, "process_open_fds") > 3


def test_openmetrics_is_sent_to_clients_that_accept_it(server: ServerProcess) -> None:
    reply = server.request("GET", "/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert reply.headers["Content-Type"].startswith("application/openmetrics-text")
    parsed = parse_openmetrics(reply.body.decode())  # type: ignore[no-untyped-call]
    names = {family.name for family in parsed}
    assert {"headway_requests", "headway_commit_seconds", "process_cpu_seconds"} <= names


def test_counters_are_reported_while_the_record_cannot_be_read(serving: Serving, tmp_path: Path) -> None:
    server = serving(tmp_path)
    assert b"headway_jobs" in server.request("GET", "/metrics").body
    with closing(sqlite3.connect(tmp_path / "headway.db")) as connection:
        connection.execute("ALTER TABLE counts RENAME TO lost")
    try:
        body = server.request("GET", "/metrics").body
        assert b"headway_jobs" not in body
        assert b"headway_requests_total" in body
    finally:
        with closing(sqlite3.connect(tmp_path / "headway.db")) as connection:
            connection.execute("ALTER TABLE lost RENAME TO counts")
