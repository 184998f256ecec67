"""`DELETE /jobs/{id}`: cancel and purge, in each state."""

import time

import pytest

from tests.support.process import ServerProcess, calm_s, eventually
from tests.support.raw import assert_problem
from tests.support.representation import assert_representation
from tests.support.serving import LATER, Serving

EVERYWHERE = ("", "/logs", "/attempts", "/result", "/progress", "/files/data.csv")


def started(server: ServerProcess, job_type: str = "steps-async") -> str:
    """A running job whose handler has said something; its id."""
    job_id = server.submit(job_type, {} if job_type == "stubborn-process" else {"steps": 1000, "step_s": 0.05})
    assert any(state["message"] for state in server.states(job_id))
    return job_id


def assert_gone(server: ServerProcess, job_id: str) -> None:
    for path in EVERYWHERE:
        assert_problem(server.request("GET", f"/jobs/{job_id}{path}"), 404, "not-found")
    assert_problem(server.request("DELETE", f"/jobs/{job_id}"), 404, "not-found")
    assert_problem(server.request("DELETE", f"/jobs/{job_id}?purge=true"), 404, "not-found")


def is_listed(server: ServerProcess, job_id: str) -> bool:
    jobs = server.request("GET", "/jobs?limit=200").json["jobs"]
    return job_id in [job["jobId"] for job in jobs]


def test_a_queued_job_is_cancelled_at_once(server: ServerProcess) -> None:
    job_id = server.submit("noop", query=LATER)
    reply = server.request("DELETE", f"/jobs/{job_id}")
    assert (reply.status, reply.body) == (204, b"")
    job = server.job(job_id)
    assert (job["status"], job["cancelRequested"], job["attempt"]) == ("cancelled", True, 0)


@pytest.mark.parametrize("job_type", ["steps-async", "steps-process"])
def test_a_running_job_that_stops_is_a_204(server: ServerProcess, job_type: str) -> None:
    job_id = started(server, job_type)
    assert server.request("DELETE", f"/jobs/{job_id}").status == 204
    assert server.job(job_id)["status"] == "cancelled"


def test_a_cancelled_job_can_be_cancelled_again(server: ServerProcess) -> None:
    job_id = server.submit("noop", query=LATER)
    server.request("DELETE", f"/jobs/{job_id}")
    version = server.job(job_id)["version"]
    assert server.request("DELETE", f"/jobs/{job_id}").status == 204
    assert server.job(job_id)["version"] == version


@pytest.mark.parametrize(("job_type", "status"), [("says", "completed"), ("fails", "failed")])
def test_a_cancel_after_the_end_is_a_conflict(server: ServerProcess, job_type: str, status: str) -> None:
    job_id = server.submit(job_type, {"text": "x"})
    server.wait_for(job_id)
    problem = assert_problem(server.request("DELETE", f"/jobs/{job_id}"), 409, "conflict")
    assert status in problem["detail"]
    job = server.job(job_id)
    assert (job["status"], job["cancelRequested"]) == (status, False)


def test_a_job_that_does_not_stop_is_a_202_after_two_seconds(server: ServerProcess) -> None:
    job_id = started(server, "stubborn-process")
    before_s, calm_before_s = time.monotonic(), calm_s()
    reply = server.request("DELETE", f"/jobs/{job_id}")
    assert time.monotonic() - before_s > 1.9
    assert calm_s() - calm_before_s < 4
    assert reply.status == 202
    assert_representation(reply.json)
    assert (reply.json["status"], reply.json["cancelRequested"]) == ("running", True)
    assert int(reply.headers["Retry-After"]) >= 1
    assert server.request("DELETE", f"/jobs/{job_id}?purge=true").status == 202
    assert server.job(job_id)["cancelRequested"] is True
    eventually(lambda: server.request("GET", f"/jobs/{job_id}").status == 404)
    assert_gone(server, job_id)
    assert not is_listed(server, job_id)


@pytest.mark.parametrize("state", ["queued", "running", "completed", "failed", "cancelled"])
def test_a_purged_job_is_gone_everywhere(server: ServerProcess, state: str) -> None:
    if state == "running":
        job_id = started(server)
    elif state in ("queued", "cancelled"):
        job_id = server.submit("noop", query=LATER)
    else:
        job_id = server.submit("writes-files" if state == "completed" else "fails", {"text": "x"})
        server.wait_for(job_id)
    if state == "cancelled":
        server.request("DELETE", f"/jobs/{job_id}")
    assert server.job(job_id)["status"] == state
    reply = server.request("DELETE", f"/jobs/{job_id}?purge=true")
    assert (reply.status, reply.body) == (204, b"")
    assert_gone(server, job_id)
    assert not is_listed(server, job_id)


def test_purge_false_is_a_cancel(server: ServerProcess) -> None:
    job_id = server.submit("noop", query=LATER)
    assert server.request("DELETE", f"/jobs/{job_id}?purge=false").status == 204
    assert server.job(job_id)["status"] == "cancelled"


@pytest.mark.parametrize("query", ["purge=maybe", "purge=", "purge=true&purge=true", "surprise=1"])
def test_odd_options_cancel_nothing(server: ServerProcess, query: str) -> None:
    job_id = server.submit("noop", query=LATER)
    pointer = "/" + query.partition("=")[0]
    assert_problem(server.request("DELETE", f"/jobs/{job_id}?{query}"), 422, "validation-failed", pointer)
    assert server.job(job_id)["cancelRequested"] is False
    server.request("DELETE", f"/jobs/{job_id}?purge=true")


def test_a_job_past_its_retention_is_404(serving: Serving) -> None:
    server = serving()
    job_id = server.submit("writes-files", {"text": "x"}, "?retainSeconds=0")
    server.wait_for(job_id, "completed")
    eventually(lambda: server.request("GET", f"/jobs/{job_id}").status == 404)
    assert_gone(server, job_id)
    eventually(lambda: not is_listed(server, job_id))
