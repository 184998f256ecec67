"""`Prefer: wait=N` on a submission: the finished job if it ends in time, else the usual 202."""

import threading
from typing import Any

import pytest

from tests.support.process import WAIT_TIMEOUT_S, Reply, ServerProcess, eventually
from tests.support.raw import FORM, JSON, form, part, send
from tests.support.representation import assert_representation
from tests.support.serving import LATER, Serving

DOCUMENT = part("document", b"hello", "a.txt", "Content-Type: text/plain")


def wish(text: str = "respond-async, wait=30") -> dict[str, str]:
    return {"Prefer": text}


def assert_finished(reply: Any, status: str, applied: str = "wait=30") -> Any:
    assert reply.status == 200, reply.body
    job = reply.json
    assert_representation(job, detail=True)
    assert job["status"] == status
    assert reply.headers["Preference-Applied"] == applied
    assert reply.headers["Location"] == reply.headers["Content-Location"] == f"/jobs/{job['jobId']}"
    assert "Retry-After" not in dict(reply.headers)
    return job


def test_a_job_that_ends_in_time_is_answered_at_once(server: ServerProcess) -> None:
    reply = server.request("POST", "/jobs/steps-async", {"steps": 2, "step_s": 0.05}, wish())
    job = assert_finished(reply, "completed")
    assert job["result"] == {"steps": 2}
    polled = server.request("GET", f"/jobs/{job['jobId']}")
    assert (reply.json, reply.headers["ETag"]) == (polled.json, polled.headers["ETag"])


def test_a_failure_in_time_is_a_finished_job_too(server: ServerProcess) -> None:
    job = assert_finished(server.request("POST", "/jobs/fails", {"text": "tomorrow"}, wish()), "failed")
    assert job["error"]["type"] == "no-luck"


def test_envelopes_and_forms_can_wait(server: ServerProcess) -> None:
    assert_finished(server.request("POST", "/jobs", {"type": "noop"}, wish()), "completed")
    reply = send(server, "POST", "/jobs/reads-upload", (*FORM, ("Prefer", "wait=30")), form(DOCUMENT))
    assert assert_finished(reply, "completed")["result"]["text"] == "hello"


@pytest.mark.parametrize(
    "preference", ["respond-async", "wait=0", "wait=soon", "respond-async, wait=1", "return=minimal"]
)
def test_a_job_that_does_not_end_in_time_is_accepted_as_usual(server: ServerProcess, preference: str) -> None:
    reply = server.request("POST", f"/jobs/noop{LATER}", {}, wish(preference))
    assert reply.status == 202
    assert_representation(reply.json)
    assert int(reply.headers["Retry-After"]) >= 1
    assert reply.headers["Preference-Applied"] is None
    assert server.request("DELETE", f"/jobs/{reply.json['jobId']}").status == 204


def test_a_retry_can_wait(server: ServerProcess) -> None:
    failed = assert_finished(server.request("POST", "/jobs/fails", {"text": "x"}, wish()), "failed")
    job = assert_finished(server.request("POST", f"/jobs/{failed['jobId']}/retry", headers=wish()), "failed")
    assert job["retryOf"] == failed["jobId"]


def test_with_a_key_a_repeat_waits_for_the_first_job(server: ServerProcess) -> None:
    key = {"Idempotency-Key": '"waits"'}
    submitted = server.request("POST", "/jobs/steps-async", {"steps": 10, "step_s": 0.05}, key)
    assert submitted.status == 202
    for _ in range(2):
        reply = server.request("POST", "/jobs/steps-async", {"steps": 10, "step_s": 0.05}, key | wish("wait=60"))
        assert reply.headers["Idempotency-Replayed"] == "true"
        assert assert_finished(reply, "completed", "wait=50")["jobId"] == submitted.json["jobId"]


def test_a_job_that_is_purged_meanwhile_was_accepted(server: ServerProcess) -> None:
    replies: list[Reply] = []

    def submit() -> None:
        replies.append(server.request("POST", f"/jobs/noop{LATER}&label=purged", {}, wish()))

    client = threading.Thread(target=submit)
    client.start()
    (job,) = eventually(lambda: server.request("GET", "/jobs?label=purged").json["jobs"])
    assert server.request("DELETE", f"/jobs/{job['jobId']}?purge=true").status == 204
    client.join(WAIT_TIMEOUT_S)
    assert (replies[0].status, replies[0].json["jobId"]) == (202, job["jobId"])
    assert replies[0].json["status"] == "cancelled", "how it ended, not how it began"


def test_a_job_that_expires_at_its_end_is_answered_with_its_end(server: ServerProcess) -> None:
    reply = server.request("POST", "/jobs/steps-async?retainSeconds=0", {"steps": 2, "step_s": 0.05}, wish())
    job = assert_finished(reply, "completed")
    assert job["result"] == {"steps": 2}
    assert server.request("GET", f"/jobs/{job['jobId']}").status == 404


def test_at_shutdown_a_waiting_client_gets_the_202_with_the_current_job(serving: Serving) -> None:
    server = serving()
    replies: list[Reply] = []

    def submit() -> None:
        replies.append(server.request("POST", "/jobs/steps-async?label=w", {"steps": 1, "step_s": 60}, wish("wait=60")))

    client = threading.Thread(target=submit)
    client.start()
    (job,) = eventually(lambda: server.request("GET", "/jobs?label=w&status=running").json["jobs"])
    assert server.stop() == 0
    client.join(WAIT_TIMEOUT_S)
    assert (replies[0].status, replies[0].json["jobId"]) == (202, job["jobId"])
    assert replies[0].json["status"] == "running"


def test_a_body_that_is_refused_waits_for_nothing(server: ServerProcess) -> None:
    reply = send(server, "POST", "/jobs/noop", (*JSON, ("Prefer", "wait=30")), b"[]")
    assert reply.status == 422
