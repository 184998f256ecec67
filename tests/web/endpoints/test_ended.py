"""What can be done with a job that has ended: repeat it, delete its result."""

from pathlib import Path
from typing import Any

import pytest
from headway.service.edits.merging import merged

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


def test_a_job_is_repeated_with_changes(shared_server: ServerProcess) -> None:
    first = shared_server.submit("fails", {"text": "again"}, "?label=mine&priority=7")
    shared_server.wait_for(first)
    retry, key = f"/jobs/{first}/retry", {"Idempotency-Key": f'"changed {first}"'}
    later = {"input": {"text": "changed"}, "label": "other", "priority": -3, "runAt": "2999-01-01T00:00:00Z"}
    reply = shared_server.request("POST", retry, later, key)
    assert (reply.status, reply.json["retryOf"], reply.json["label"]) == (202, first, "other")
    job = shared_server.job(reply.json["jobId"])
    assert (job["input"], job["runAt"]) == ({"text": "changed"}, "2999-01-01T00:00:00.000Z")
    assert shared_server.request("POST", retry, later, key).json["jobId"] == job["jobId"]
    assert shared_server.request("POST", retry, later | {"priority": 1}, key).status == 422
    assert shared_server.request("POST", retry, None, key).status == 422
    unchanged = shared_server.request("POST", retry, {}).json
    assert (unchanged["label"], shared_server.job(unchanged["jobId"])["input"]) == ("mine", {"text": "again"})
    assert shared_server.request("POST", retry, {"label": None}).json["label"] is None
    empty = shared_server.request("POST", retry, b"", {"Content-Type": "application/json"})
    assert (empty.status, empty.json["label"]) == (202, "mine")
    assert shared_server.request("DELETE", f"/jobs/{job['jobId']}").status == 204


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"input": {"text": None}}, "/input/text"),
        ({"input": {"text": 5}}, "/input/text"),
        ({"input": {"more": 1}}, "/input/more"),
        ({"input": []}, "/input"),
        ({"priority": "5"}, "/priority"),
        ({"label": "a\u0007"}, "/label"),
        ({"runAt": "soon"}, "/runAt"),
        ({"metadata": {}}, "/metadata"),
    ],
)
def test_changes_that_a_job_cannot_have_are_refused(
    shared_server: ServerProcess, changes: dict[str, Any], pointer: str
) -> None:
    job_id = shared_server.submit("fails", {"text": "never"}, "?runAt=2999-01-01T00:00:00Z")
    assert shared_server.request("DELETE", f"/jobs/{job_id}").status == 204
    reply = shared_server.request("POST", f"/jobs/{job_id}/retry", changes)
    assert_problem(reply, 422, "validation-failed", pointer)


def test_a_file_is_no_part_of_the_changes(serving: Serving, tmp_path: Path) -> None:
    server = serving(tmp_path)
    first = server.upload("reads-upload", {"document": b"once sent"}, query="?runAt=2999-01-01T00:00:00Z")
    assert server.request("DELETE", f"/jobs/{first}").status == 204
    retry = f"/jobs/{first}/retry"
    refused = server.request("POST", retry, {"input": {"document": "text"}})
    assert_problem(refused, 422, "validation-failed", "/input/document")
    second = server.request("POST", retry, {"input": {}, "label": "with its file"}).json["jobId"]
    assert server.wait_for(second)["result"]["text"] == "once sent"


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_a_merge_patch_does_what_its_rfc_says(target: Any, patch: dict[str, Any], result: dict[str, Any]) -> None:
    """Those examples of RFC 7396's appendix A whose patch is an object."""
    assert merged(target, patch) == result


def test_a_repeated_job_has_the_same_uploads_also_after_the_first_is_gone(serving: Serving, tmp_path: Path) -> None:
    server = serving(tmp_path)
    first = server.upload("reads-upload", {"document": b"once sent"}, query="?runAt=2999-01-01T00:00:00Z")
    assert server.request("DELETE", f"/jobs/{first}").status == 204
    second = server.request("POST", f"/jobs/{first}/retry").json["jobId"]
    assert server.request("DELETE", f"/jobs/{first}?purge=true").status == 204
    assert (tmp_path / "jobs" / second / "inputs" / "document").read_bytes() == b"once sent"
    assert server.wait_for(second)["result"]["text"] == "once sent"


@pytest.mark.parametrize("state", ["queued", "running"])
def test_a_job_cannot_be_repeated_before_it_has_ended(shared_server: ServerProcess, state: str) -> None:
    job_id = _in_state(shared_server, state)
    assert_problem(shared_server.request("POST", f"/jobs/{job_id}/retry"), 409, "conflict")
    shared_server.request("DELETE", f"/jobs/{job_id}")


def test_a_completed_job_can_be_repeated_with_changes(shared_server: ServerProcess) -> None:
    job_id = _in_state(shared_server, "completed")
    repeated = shared_server.request("POST", f"/jobs/{job_id}/retry", {"label": "once more"})
    assert (repeated.status, repeated.json["retryOf"], repeated.json["label"]) == (202, job_id, "once more")
    shared_server.request("DELETE", f"/jobs/{repeated.json['jobId']}")


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
