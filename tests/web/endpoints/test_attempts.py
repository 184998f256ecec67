"""`GET /jobs/{id}/attempts`: what became of each attempt, and what it used."""

from datetime import datetime

import pytest

from tests.support.metrics import metric, scrape, value
from tests.support.process import ServerProcess, eventually
from tests.support.raw import assert_problem
from tests.support.serving import Serving, ended

FIELDS = {"attempt", "startedAt", "endedAt", "outcome", "error", "peakMemoryBytes", "cpuSeconds"}


def test_each_attempt_has_its_outcome_and_its_error(server: ServerProcess) -> None:
    job_id = ended(server, "third-time")
    reply = server.request("GET", f"/jobs/{job_id}/attempts")
    attempts = reply.json["attempts"]
    assert (reply.status, reply.headers["Cache-Control"], reply.json["nextAfter"]) == (200, "private, no-cache", None)
    assert [attempt["attempt"] for attempt in attempts] == [1, 2, 3]
    assert [attempt["outcome"] for attempt in attempts] == ["retry", "retry", "completed"]
    details = [attempt["error"] and attempt["error"]["detail"] for attempt in attempts]
    assert details == ["RuntimeError: attempt 1 is not the third", "RuntimeError: attempt 2 is not the third", None]
    assert all(attempt.keys() == FIELDS for attempt in attempts)
    instants = [datetime.fromisoformat(attempt[at]) for attempt in attempts for at in ("startedAt", "endedAt")]
    assert instants == sorted(instants)
    job = server.job(job_id)
    assert (attempts[2]["startedAt"], attempts[2]["endedAt"]) == (job["startedAt"], job["completedAt"])
    page = server.request("GET", f"/jobs/{job_id}/attempts?limit=2").json
    assert (page["attempts"], page["nextAfter"]) == (attempts[:2], 2)
    rest = server.request("GET", f"/jobs/{job_id}/attempts?limit=2&after=2").json
    assert (rest["attempts"], rest["nextAfter"]) == (attempts[2:], None)


def test_an_attempt_that_runs_has_no_end_yet(server: ServerProcess) -> None:
    job_id = server.submit("steps-async", {"steps": 1, "step_s": 60})
    assert server.request("GET", f"/jobs/{job_id}/attempts").json["attempts"] in ([], [_running(server, job_id)])
    server.wait_for(job_id, "running")
    assert server.request("GET", f"/jobs/{job_id}/attempts").json["attempts"] == [_running(server, job_id)]
    server.request("DELETE", f"/jobs/{job_id}")
    (attempt,) = server.request("GET", f"/jobs/{job_id}/attempts").json["attempts"]
    assert (attempt["outcome"], attempt["endedAt"]) == ("cancelled", server.job(job_id)["completedAt"])


def _running(server: ServerProcess, job_id: str) -> dict[str, object]:
    job = server.job(job_id)
    return dict.fromkeys(FIELDS) | {"attempt": 1, "startedAt": job["startedAt"]}


def test_what_a_process_used_is_listed_and_measured(serving: Serving) -> None:
    server = serving()
    job_id = ended(server, "raises", {"text": "x"})
    (attempt,) = server.request("GET", f"/jobs/{job_id}/attempts").json["attempts"]
    assert (attempt["outcome"], attempt["error"]) == ("failed", server.job(job_id)["error"])
    assert attempt["peakMemoryBytes"] > 1_000_000
    assert attempt["cpuSeconds"] >= 0
    measured = attempt
    in_the_loop = ended(server, "steps-async", {"steps": 1})
    (attempt,) = server.request("GET", f"/jobs/{in_the_loop}/attempts").json["attempts"]
    assert (attempt["outcome"], attempt["peakMemoryBytes"], attempt["cpuSeconds"]) == ("completed", None, None)
    for name in ("headway_job_cpu_seconds", "headway_job_peak_memory_bytes"):
        count = metric(server, f"{name}_count", type="raises")
        eventually(lambda count=count: count() == 1, "the process was not measured")
    samples = scrape(server)
    assert value(samples, "headway_job_peak_memory_bytes_sum", type="raises") == measured["peakMemoryBytes"]
    assert value(samples, "headway_job_cpu_seconds_count", type="steps-async") == 0


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("after=-1", "/after"),
        ("after=x", "/after"),
        ("limit=0", "/limit"),
        ("limit=201", "/limit"),
        ("before=5", "/before"),
    ],
)
def test_attempts_refuse_odd_options(server: ServerProcess, query: str, pointer: str) -> None:
    job_id = ended(server, "steps-async", {"steps": 1})
    assert_problem(server.request("GET", f"/jobs/{job_id}/attempts?{query}"), 422, "validation-failed", pointer)
