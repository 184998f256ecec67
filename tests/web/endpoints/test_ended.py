"""What can be done with a job that has ended: repeat it, delete its result."""

from pathlib import Path

import pytest

from tests.support.process import ServerProcess
from tests.support.raw import assert_problem
from tests.support.serving import Serving


def test_a_failed_job_is_repeated_as_a_new_one(shared_server: ServerProcess) -> None:
    first = shared_server.submit("fails", {"text": "again"}, "?label=mine&priority=7&timeoutSeconds=9")
    shared_server.wait_for(first)
    reply = shared_server.request("POST", f"/jobs/{first}/retry")
    assert reply.status == 202
    assert reply.headers["Location"] == f"/jobs/{reply.json['jobId']}"
    assert int(reply.headers["Retry-After"]) >= 1
    assert reply.json["jobId"] != first
    assert (reply.json["retryOf"], reply.json["label"], reply.json["attempt"]) == (first, "mine", 0)
    second = shared_server.wait_for(reply.json["jobId"])
    assert (second["input"], second["error"]["detail"]) == ({"text": "again"}, "again")
    assert shared_server.job(first)["status"] == "failed"


def test_a_repeated_job_has_the_same_uploads_also_after_the_first_is_gone(serving: Serving, tmp_path: Path) -> None:
    server = serving(tmp_path)
    first = server.upload("waits-with-upload", {"document": b"once sent"})
    assert server.request("DELETE", f"/jobs/{first}").status == 204
    second = server.request("POST", f"/jobs/{first}/retry").json["jobId"]
    assert server.request("DELETE", f"/jobs/{first}?purge=true").status == 204
    assert (tmp_path / "jobs" / second / "inputs" / "document").read_bytes() == b"once sent"
    assert server.wait_for(second)["result"] == "once sent"


@pytest.mark.parametrize("state", ["completed", "queued", "running"])
def test_only_a_failed_or_cancelled_job_can_be_repeated(shared_server: ServerProcess, state: str) -> None:
    job_id = _in_state(shared_server, state)
    assert_problem(shared_server.request("POST", f"/jobs/{job_id}/retry"), 409, "conflict")
    shared_server.request("DELETE", f"/jobs/{job_id}")


def test_a_result_can_be_deleted_and_the_record_stays(serving: Serving, tmp_path: Path) -> None:
    server = serving(tmp_path)
    job_id = server.submit("writes-files", {"text": "hello"})
    before = server.wait_for(job_id)
    assert server.request("DELETE", f"/jobs/{job_id}/result").status == 204
    after = server.job(job_id)
    assert (after["status"], after["result"], after["files"], after["resultUrl"]) == ("completed", None, [], None)
    assert after["version"] > before["version"]
    assert_problem(server.request("GET", f"/jobs/{job_id}/result"), 410, "gone")
    assert_problem(server.request("GET", f"/jobs/{job_id}/files/data.csv"), 404, "not-found")
    assert not (tmp_path / "jobs" / job_id / "files").exists()
    assert server.request("DELETE", f"/jobs/{job_id}/result").status == 204
    server.kill()
    server.restart()
    assert_problem(server.request("GET", f"/jobs/{job_id}/result"), 410, "gone")


def test_before_the_end_there_is_no_result_to_delete(shared_server: ServerProcess) -> None:
    for state in ("queued", "running"):
        job_id = _in_state(shared_server, state)
        reply = shared_server.request("DELETE", f"/jobs/{job_id}/result")
        assert_problem(reply, 409, "not-finished")
        assert int(reply.headers["Retry-After"]) >= 1
        shared_server.request("DELETE", f"/jobs/{job_id}")


def test_what_does_not_exist_cannot_be_repeated_or_emptied(shared_server: ServerProcess) -> None:
    unknown = "01a1fa8d-f7c8-7000-96f5-0c6db43f6664"
    assert_problem(shared_server.request("POST", f"/jobs/{unknown}/retry"), 404, "not-found")
    assert_problem(shared_server.request("DELETE", f"/jobs/{unknown}/result"), 404, "not-found")


def _in_state(server: ServerProcess, state: str) -> str:
    if state == "queued":
        return server.submit("noop", query="?runAt=2999-01-01T00:00:00Z")
    job_id = server.submit("noop" if state == "completed" else "polite-process")
    server.wait_for(job_id, state)
    return job_id
