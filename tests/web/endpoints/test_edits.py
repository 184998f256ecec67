"""`PATCH /jobs/{id}`: what a client may change about a job, and only the job that it has read."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.process import Reply, ServerProcess
from tests.support.raw import RawStream, assert_problem, data_of, is_state
from tests.support.representation import assert_representation
from tests.support.serving import LATER, UNKNOWN, Serving, ended

MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}


def patch(server: ServerProcess, job_id: str, body: Any, **headers: str) -> Reply:
    return server.request("PATCH", f"/jobs/{job_id}", body, {name.replace("_", "-"): headers[name] for name in headers})


@pytest.fixture(scope="module")
def waiting(server: ServerProcess) -> str:
    return server.submit("noop", query=f"{LATER}&label=first")


def test_a_patch_changes_what_it_has_and_nothing_else(server: ServerProcess) -> None:
    given = {"type": "noop", "runAt": "2099-01-01T00:00:00Z", "label": "one", "metadata": {"a": "1", "b": "2"}}
    before = server.request("POST", "/jobs", given).json
    assert before["editTag"] == "e0"
    path = f"/jobs/{before['jobId']}"
    reply = server.request("PATCH", path, {"label": "two", "metadata": {"a": None, "c": "3"}}, MERGE_PATCH)
    assert (reply.status, reply.headers["ETag"]) == (200, f'W/"{reply.json["version"]}"')
    assert_representation(reply.json)
    changed = {"label": "two", "metadata": {"b": "2", "c": "3"}, "editTag": "e1"}
    same = before.keys() - {*changed, "version", "updatedAt"}
    assert {name: reply.json[name] for name in changed} == changed
    assert {name: reply.json[name] for name in same} == {name: before[name] for name in same}
    assert reply.json["version"] > before["version"]
    unchanging: list[Any] = [{}, {"label": "two"}, {"metadata": {}}, {"metadata": {"c": "3", "gone": None}}]
    for body in unchanging:
        assert server.request("PATCH", path, body).json == reply.json
    assert server.request("PATCH", path).json == reply.json
    emptied = server.request("PATCH", path, {"label": None, "metadata": None, "priority": None}).json
    assert (emptied["label"], emptied["metadata"], emptied["editTag"]) == (None, {}, "e2")


def test_lists_streams_and_polls_see_an_edit(server: ServerProcess, waiting: str) -> None:
    polled = server.request("GET", f"/jobs/{waiting}")
    held = {"If-None-Match": polled.headers["ETag"]}
    assert server.request("GET", f"/jobs/{waiting}", headers=held).status == 304
    with (
        RawStream(server, f"/jobs/{waiting}/progress") as one,
        RawStream(server, f"/jobs/progress?ids={waiting}") as many,
    ):
        streams = [filter(is_state, stream.frames()) for stream in (one, many)]
        for frames in streams:
            assert data_of(next(frames))["label"] == "first"
        label = f"seen-{polled.json['editTag']}"
        assert patch(server, waiting, {"label": label, "metadata": {"seen": label}}).status == 200
        for frames in streams:
            state = data_of(next(frames))
            assert (state["label"], state["version"] > polled.json["version"]) == (label, True)
    assert server.request("GET", f"/jobs/{waiting}", headers=held).json["label"] == label
    for query in (f"label={label}", f"metadata.seen={label}"):
        assert [job["jobId"] for job in server.request("GET", f"/jobs?{query}").json["jobs"]] == [waiting]
    assert server.request("GET", "/jobs?label=first").json["jobs"] == []


def test_an_edit_is_for_the_tag_that_its_client_has_read(server: ServerProcess, waiting: str) -> None:
    tag = server.job(waiting)["editTag"]
    edited = patch(server, waiting, {"label": "mine"}, If_Match=f'"{tag}"').json
    refused = patch(server, waiting, {"label": "late"}, If_Match=f'"{tag}"')
    assert_problem(refused, 412, "precondition-failed")
    assert refused.json["detail"] == f"The job's editTag is {edited['editTag']}."
    etag = server.request("GET", f"/jobs/{waiting}").headers["ETag"]
    for never in (f'W/"{edited["editTag"]}"', etag, '"e99", "x"', '""'):
        assert_problem(patch(server, waiting, {"label": "late"}, If_Match=never), 412, "precondition-failed")
    for either in (f'"e99", "{edited["editTag"]}"', "*", " * "):
        assert patch(server, waiting, {"label": "mine"}, If_Match=either).json == edited
    for odd in ("e1", "", '"e1', '*, "e1"', ",", '"e1" "e2'):
        assert_problem(patch(server, waiting, {"label": "odd"}, If_Match=odd), 400, "malformed-request")
    assert server.job(waiting)["label"] == "mine"


def test_of_simultaneous_edits_for_one_tag_one_is_made(server: ServerProcess, waiting: str) -> None:
    tag = server.job(waiting)["editTag"]
    with ThreadPoolExecutor(8) as pool:
        replies = list(
            pool.map(lambda name: patch(server, waiting, {"label": name}, If_Match=f'"{tag}"'), map(str, range(8)))
        )
    (won,) = [reply.json for reply in replies if reply.status == 200]
    assert [reply.status for reply in replies].count(412) == 7
    assert server.job(waiting)["label"] == won["label"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"status": "completed"}, "/status"),
        ({"label": "a\u0007"}, "/label"),
        ({"label": "a" * 201}, "/label"),
        ({"priority": 101}, "/priority"),
        ({"priority": "5"}, "/priority"),
        ({"runAt": "tomorrow"}, "/runAt"),
        ({"retainSeconds": -1}, "/retainSeconds"),
        ({"metadata": {"a": 1}}, "/metadata/a"),
        ({"metadata": {"a b": "c"}}, "/metadata/a b/[key]"),
        ({"metadata": {"a": {"b": "c"}}}, "/metadata/a"),
        ({"metadata": [["a", "b"]]}, "/metadata"),
        ({"metadata": {str(number): "" for number in range(21)}}, "/metadata"),
        ([], ""),
        ("label", ""),
    ],
    ids=repr,
)
def test_what_no_job_can_become_is_refused(server: ServerProcess, waiting: str, body: Any, pointer: str) -> None:
    before = server.job(waiting)
    assert_problem(patch(server, waiting, body), 422, "validation-failed", pointer)
    assert server.job(waiting) == before


def test_a_patch_of_another_media_type_is_told_which_are_taken(server: ServerProcess, waiting: str) -> None:
    refused = server.request("PATCH", f"/jobs/{waiting}", b"[]", {"Content-Type": "application/json-patch+json"})
    assert_problem(refused, 415, "unsupported-media-type")
    assert refused.headers["Accept-Patch"] == "application/merge-patch+json, application/json"


def test_priority_and_time_are_those_of_queued_jobs_and_the_rest_of_all(server: ServerProcess) -> None:
    done = ended(server, "noop")
    for body in ({"priority": 1}, {"runAt": "2099-01-01T00:00:00Z"}):
        assert_problem(patch(server, done, body), 409, "conflict")
    unchanged = patch(server, done, {"priority": 0, "runAt": None})
    assert (unchanged.status, unchanged.json["editTag"]) == (200, "e0")
    kept = patch(server, done, {"label": "kept", "metadata": {"a": "b"}, "retainSeconds": 3_600}).json
    assert (kept["label"], kept["status"], kept["editTag"]) == ("kept", "completed", "e1")
    assert kept["expiresAt"] < server.job(ended(server, "noop"))["expiresAt"]
    assert patch(server, done, {"retainSeconds": None}).json["expiresAt"] > kept["expiresAt"]
    assert patch(server, done, {"retainSeconds": 0}).status == 200
    assert_problem(patch(server, done, {"label": "late"}), 404, "not-found")


def test_a_job_that_is_brought_forward_starts_at_once(server: ServerProcess) -> None:
    job_id = server.submit("noop", query=LATER)
    assert patch(server, job_id, {"runAt": None}).status == 200
    assert server.wait_for(job_id)["status"] == "completed"


def test_an_unknown_job_cannot_be_edited(server: ServerProcess) -> None:
    for job_id in (UNKNOWN, "nothing", "%00"):
        assert_problem(patch(server, job_id, {"label": "x"}, If_Match='"e5"'), 404, "not-found")


def test_an_edit_survives_a_kill(serving: Serving, tmp_path: Any) -> None:
    server = serving(tmp_path)
    job_id = server.submit("noop", query=LATER)
    edited = patch(server, job_id, {"label": "durable", "priority": 9}).json
    server.kill()
    server.restart()
    assert {**server.job(job_id), "input": None} == {**edited, "input": None, "result": None}
