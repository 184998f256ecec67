"""A worker elsewhere and its job, request by request: what it is given, what clients see, how the attempt ends."""

import gzip
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.support.process import ROOT, ServerProcess, eventually, multipart
from tests.support.raw import assert_problem, request_bytes
from tests.support.working import Assignment, Worker
from tests.web.conftest import assert_no_unexpected_errors

REMOTE_JOBS = ROOT / "tests" / "job_types" / "remote_jobs.py"
DESCRIBED = REMOTE_JOBS.with_name("make-thumbnail.json")


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    env = {"HEADWAY_SAMPLES": "false", "HEADWAY_MAX_RECOVERIES": "1", "HEADWAY_CANCEL_GRACE_S": "0.5"}
    with ServerProcess(":memory:", "--jobs", f"{REMOTE_JOBS},{DESCRIBED}", env=env) as server:
        yield server
        assert_no_unexpected_errors(server)


@pytest.fixture
def worker(server: ServerProcess) -> Iterator[Worker]:
    """Of the type `double`, whose queue is empty afterwards."""
    worker = Worker(server, "double")
    yield worker
    assert worker.ask().status == 204


def claimed(worker: Worker, number: int = 1, query: str = "") -> Assignment:
    """A new job, in the hands of the worker."""
    job_id = worker.server.submit("double", {"number": number}, query)
    assignment = worker.claim()
    assert assignment.job_id == job_id
    return assignment


def test_a_worker_claims_a_job_and_completes_it(server: ServerProcess, worker: Worker) -> None:
    job_id = server.submit("double", {"number": 21}, "?timeoutSeconds=600")
    assert server.job(job_id)["status"] == "queued"
    assignment = worker.claim()
    told = {name: assignment.fields[name] for name in ("jobId", "type", "owner", "attempt", "input", "checkpoint")}
    assert told == {
        "jobId": job_id,
        "type": "double",
        "owner": "local",
        "attempt": 1,
        "input": {"number": 21},
        "checkpoint": None,
    }
    assert (assignment.fields["timeoutSeconds"], assignment.fields["uploads"]) == (600, [])
    assert server.job(job_id)["status"] == "running"
    assert assignment.ok("complete", {"result": 42}) == {
        "jobId": job_id,
        "attempt": 1,
        "status": "completed",
        "error": None,
    }
    assert server.request("GET", f"/jobs/{job_id}/result").json == 42
    (attempt,) = server.request("GET", f"/jobs/{job_id}/attempts").json["attempts"]
    assert (attempt["attempt"], attempt["outcome"]) == (1, "completed")
    figures = server.request("GET", "/metrics").body.decode()
    assert 'headway_job_run_seconds_count{outcome="completed",type="double"}' in figures


def test_a_worker_waits_for_a_job(server: ServerProcess, worker: Worker) -> None:
    with ThreadPoolExecutor() as pool:
        asking = pool.submit(worker.claim)
        eventually(lambda: "headway_waits_open 1.0" in server.request("GET", "/metrics").body.decode())
        job_id = server.submit("double")
        assert asking.result().job_id == job_id
    asking.result().ok("complete", {"result": 2})


def test_no_job_is_given_to_two_workers(server: ServerProcess, worker: Worker) -> None:
    jobs = {server.submit("double", {"number": number}) for number in range(20)}
    barrier = threading.Barrier(20)

    def work() -> str:
        barrier.wait()
        assignment = worker.claim()
        assignment.ok("complete", {"result": 2 * assignment.fields["input"]["number"]})
        return assignment.job_id

    with ThreadPoolExecutor(20) as pool:
        done = [each.result() for each in [pool.submit(work) for _ in jobs]]
    assert sorted(done) == sorted(jobs)
    assert {server.job(job_id)["attempt"] for job_id in jobs} == {1}


def test_what_a_worker_reports_reaches_watchers(server: ServerProcess, worker: Worker) -> None:
    assignment = claimed(worker)
    states = server.events(f"/jobs/{assignment.job_id}/progress")
    assert next(states).data["status"] == "running"
    told = assignment.ok("progress", {"done": 3, "total": 4, "unit": "rows", "message": "in the middle"})
    assert (told["cancel"], told["reason"]) == (False, None)
    seen = next(states).data
    assert (seen["progress"], seen["done"], seen["unit"], seen["message"]) == (75.0, 3, "rows", "in the middle")
    assignment.ok("logs", {"lines": [{"message": "as JSON", "level": "warning"}]})
    assignment.ok("logs", b"as text\n\nin two lines\n", **{"Content-Type": "text/plain"})
    lines = [event.data for event in (next(states), next(states), next(states))]
    assert [(line["level"], line["message"]) for line in lines] == [
        ("warning", "as JSON"),
        ("info", "as text"),
        ("info", "in two lines"),
    ]
    assignment.ok("complete", {"result": 2})
    assert [state.data["status"] for state in states][-1] == "completed"


def test_a_failure_is_tried_again_and_the_last_one_stays(server: ServerProcess, worker: Worker) -> None:
    first = claimed(worker)
    assert first.ok("fail", {"title": "No luck", "detail": "yet"})["status"] == "queued"
    second = worker.claim()
    assert (second.job_id, second.fields["attempt"]) == (first.job_id, 2)
    ended = second.ok("fail", {"title": "No luck", "type": "unlucky", "status": 502})
    assert (ended["status"], ended["error"]["type"], ended["error"]["status"]) == ("failed", "unlucky", 502)
    assert server.job(first.job_id)["error"]["title"] == "No luck"


def test_a_failure_can_be_final(server: ServerProcess, worker: Worker) -> None:
    assignment = claimed(worker)
    assert assignment.ok("fail", {"title": "Never", "retry": False})["status"] == "failed"
    assert server.job(assignment.job_id)["attempt"] == 1


def test_a_result_that_is_not_what_the_type_declares_is_invalid_output(server: ServerProcess, worker: Worker) -> None:
    ended = claimed(worker).ok("complete", {"result": "two"})
    assert (ended["status"], ended["error"]["type"]) == ("failed", "invalid-output")


def test_a_cancel_reaches_the_worker_and_its_end_is_a_cancel(server: ServerProcess, worker: Worker) -> None:
    assignment = claimed(worker)
    with ThreadPoolExecutor() as pool:
        deleting = pool.submit(server.request, "DELETE", f"/jobs/{assignment.job_id}")
        told = eventually(lambda: (now := assignment.ok("progress"))["cancel"] and now)
        assert told["reason"] == "cancel"
        assert assignment.ok("fail", {"title": "stopped"})["status"] == "cancelled"
        assert deleting.result().status == 204
    assert server.job(assignment.job_id)["status"] == "cancelled"


def test_a_worker_that_goes_on_after_a_cancel_loses_its_lease(server: ServerProcess, worker: Worker) -> None:
    assignment = claimed(worker)
    with ThreadPoolExecutor() as pool:  # it keeps its lease all the time
        pool.submit(server.request, "DELETE", f"/jobs/{assignment.job_id}")
        eventually(lambda: assignment.send("progress").status == 409)
    assert server.wait_for(assignment.job_id)["status"] == "cancelled"
    assert_problem(assignment.send("complete", {"result": 2}), 409, "lease-lost")


def test_a_job_that_takes_too_long_stops_the_worker(server: ServerProcess) -> None:
    server.submit("hurried")
    assignment = Worker(server, "hurried").claim()
    told = eventually(lambda: (now := assignment.ok("progress"))["cancel"] and now)
    assert told["reason"] == "timeout"
    assert assignment.ok("fail")["error"]["type"] == "timeout"


def test_a_type_gives_no_more_jobs_at_once_than_it_allows(server: ServerProcess) -> None:
    worker, jobs = Worker(server, "hurried"), [server.submit("hurried") for _ in range(2)]
    first = worker.claim()
    assert worker.ask().status == 204
    first.ok("complete")
    second = worker.claim()
    assert [first.job_id, second.job_id] == jobs
    second.ok("complete")


def test_a_silent_worker_loses_its_attempt_and_the_next_one_goes_on_at_its_checkpoint(
    server: ServerProcess, worker: Worker
) -> None:
    silent = claimed(worker)
    silent.ok("checkpoint", {"row": 500})
    second = worker.claim()  # as soon as the lease has run out
    assert (second.job_id, second.fields["attempt"], second.fields["checkpoint"]) == (silent.job_id, 2, {"row": 500})
    for step, body in (("progress", None), ("checkpoint", {}), ("complete", {"result": 2}), ("fail", {})):
        assert_problem(silent.send(step, body), 409, "lease-lost")
    assert second.ok("complete", {"result": 4})["status"] == "completed"
    assert server.request("GET", f"/jobs/{silent.job_id}/result").json == 4
    outcomes = [each["outcome"] for each in server.request("GET", f"/jobs/{silent.job_id}/attempts").json["attempts"]]
    assert outcomes == ["interrupted", "completed"]


def test_a_job_whose_workers_are_lost_again_and_again_has_failed(server: ServerProcess, worker: Worker) -> None:
    lost = claimed(worker)
    assert worker.claim().job_id == lost.job_id  # and nothing more is heard from it
    assert server.wait_for(lost.job_id)["error"]["type"] == "worker-lost"


def test_a_job_that_may_not_be_started_again_fails_with_its_worker(server: ServerProcess) -> None:
    job_id = server.submit("once")
    Worker(server, "once").claim()
    assert server.wait_for(job_id)["error"]["type"] == "worker-lost"


def test_a_worker_that_lost_the_response_repeats_its_report(server: ServerProcess, worker: Worker) -> None:
    assignment = claimed(worker)
    first = assignment.ok("complete", {"result": 2})
    assert assignment.ok("complete", {"result": 3}) == first
    assert server.request("GET", f"/jobs/{assignment.job_id}/result").json == 2
    assert_problem(assignment.send("progress"), 409, "lease-lost")


def test_a_report_that_is_sent_many_times_at_once_has_one_answer(server: ServerProcess, worker: Worker) -> None:
    for step, body in (("complete", {"result": 2}), ("fail", {"title": "Never", "retry": False})):
        assignment, barrier = claimed(worker), threading.Barrier(8)

        def report(step: str, body: object, assignment: Assignment, barrier: threading.Barrier) -> str:
            barrier.wait()
            return json.dumps(assignment.ok(step, body))

        with ThreadPoolExecutor(8) as pool:
            sent = [pool.submit(report, step, body, assignment, barrier) for _ in range(8)]
            (answer,) = {each.result() for each in sent}
        assert json.loads(answer)["status"] == server.job(assignment.job_id)["status"]


def test_an_upload_is_read_by_the_worker(server: ServerProcess) -> None:
    content = bytes(range(256)) * 1000
    server.upload("read-aloud", {"document": content}, {"language": "de"})
    assignment = Worker(server, "read-aloud").claim()
    assert assignment.fields["input"] == {"language": "de"}
    (upload,) = assignment.fields["uploads"]
    assert (upload["field"], upload["filename"], upload["sizeBytes"]) == ("document", "document.csv", len(content))
    assert upload["url"] == "/work/read-aloud/inputs/document"
    assert assignment.send("inputs/document", method="GET").body == content
    part = assignment.send("inputs/document", method="GET", Range="bytes=10-19")
    assert (part.status, part.body) == (206, content[10:20])
    assert_problem(assignment.send("inputs/another", method="GET"), 404, "not-found")
    assert assignment.ok("complete", {"result": {"bytes": len(content)}})["status"] == "completed"
    assert_problem(assignment.send("inputs/document", method="GET"), 409, "lease-lost")


def test_the_error_of_a_number_is_at_its_field(worker: Worker) -> None:
    assignment = claimed(worker)
    refused = assignment.send("progress", {"done": "three", "total": True, "percent": []})
    assert_problem(refused, 422, "validation-failed", "/done", "/total", "/percent")
    assert not assignment.ok("progress", {"done": 3, "total": 4.5})["cancel"]
    assignment.ok("complete", {"result": 2})


def test_a_bad_report_is_refused_and_keeps_the_lease(server: ServerProcess, worker: Worker) -> None:
    assignment = claimed(worker)
    as_json, as_text = {"Content-Type": "application/json"}, {"Content-Type": "text/plain"}
    for step, body, headers, kind in (
        ("progress", {"done": "three"}, {}, "validation-failed"),
        ("progress", {"speed": 3}, {}, "validation-failed"),
        ("progress", b'{"done": NaN}', as_json, "validation-failed"),
        ("progress", b"{", as_json, "malformed-request"),
        ("progress", b'{"message": "%s"}' % (b"a" * 20_000), as_json, "too-large"),
        ("progress", b"3", as_text, "unsupported-media-type"),
        ("logs", {"lines": [{"message": "a", "level": "loud"}]}, {}, "validation-failed"),
        ("logs", b"a\n" * 1_001, as_text, "validation-failed"),
        ("logs", b"\xff", as_text, "malformed-request"),
        ("checkpoint", b'"%s"' % (b"a" * 1_100_000), as_json, "too-large"),
        ("complete", {"result": 2, "resultUrl": "javascript:alert(1)"}, {}, "validation-failed"),
        ("fail", {"status": 200}, {}, "validation-failed"),
    ):
        reply = assignment.send(step, body, **headers)
        assert reply.json["type"] == f"/problems/{kind}", (step, body[:50] if isinstance(body, bytes) else body)
    path = "/work/double/progress"
    assert_problem(server.request("POST", path), 400, "malformed-request")
    assert_problem(server.request("POST", path, headers={"Headway-Lease": "hwl_no"}), 409, "lease-lost")
    lease = {"Headway-Lease": assignment.fields["lease"]}
    assert_problem(server.request("POST", "/work/once/progress", headers=lease), 409, "lease-lost")
    assert assignment.ok("complete", {"result": 2})["status"] == "completed"


def test_a_report_of_another_media_type_is_answered_with_those_that_are_accepted(
    server: ServerProcess, worker: Worker
) -> None:
    assignment = claimed(worker)
    for step in ("progress", "logs", "checkpoint", "fail"):
        refused = assignment.send(step, b"PNG", **{"Content-Type": "image/png"})
        told = assert_problem(refused, 415, "unsupported-media-type")["detail"]
        assert told == f"Send application/json{' or text/plain' if step == 'logs' else ''}."
    refused = server.request("POST", "/jobs/double", b"PNG", {"Content-Type": "image/png"})
    told = assert_problem(refused, 415, "unsupported-media-type")["detail"]
    assert told == "Send application/json or multipart/form-data."
    assert assignment.ok("complete", {"result": 2})["status"] == "completed"


def test_only_types_without_a_handler_have_work(server: ServerProcess) -> None:
    assert_problem(Worker(server, "nothing").ask(), 404, "not-found")
    assert_problem(server.request("POST", "/work/double/claim?wait=51"), 422, "validation-failed", "/wait")


def test_a_worker_that_hangs_up_while_it_waits_takes_no_job_with_it(server: ServerProcess) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as gone:
        gone.sendall(request_bytes("POST", "/work/hurried/claim?wait=50", body=b""))
        eventually(lambda: "headway_waits_open 1.0" in server.request("GET", "/metrics").body.decode())
    job_id = server.submit("hurried")
    assignment = Worker(server, "hurried").claim()  # a lease lasts longer than this waits
    assert assignment.job_id == job_id
    assignment.ok("complete")


def test_files_that_a_worker_sends_are_the_jobs_output(server: ServerProcess, worker: Worker) -> None:
    assignment = claimed(worker)
    content = bytes(range(256)) * 5_000
    name = quote("Übersicht {1}.csv")
    assert assignment.send("files/report.pdf", b"a first try", "PUT").status == 200
    assert assignment.send("files/report.pdf", content, "PUT").json["cancel"] is False
    gzipped = {"Content-Encoding": "gzip"}
    assert assignment.send(f"files/{name}", gzip.compress(b"day,sold\n"), "PUT", **gzipped).status == 200
    assert server.job(assignment.job_id)["files"] == []
    assignment.ok("complete", {"result": 2})
    files = server.job(assignment.job_id)["files"]
    assert [(each["name"], each["sizeBytes"], each["contentType"]) for each in files] == [
        ("report.pdf", len(content), "application/pdf"),
        ("Übersicht {1}.csv", 9, "text/csv"),
    ]
    assert server.request("GET", files[0]["url"]).body == content
    assert server.request("GET", files[1]["url"]).body == b"day,sold\n"


def test_a_name_that_leads_elsewhere_is_refused(server: ServerProcess, worker: Worker) -> None:
    assignment = claimed(worker)
    for name in ("..", ".", "%2e%2e", "..%2f..%2fescaped", "a%2fb", "a%00b", "a" * 256):
        reply = assignment.send(f"files/{name}", b"evil", "PUT")
        assert reply.status in (404, 405, 422), (name, reply.body)
    assert assignment.ok("complete", {"result": 2})["status"] == "completed"
    assert server.job(assignment.job_id)["files"] == []


def test_a_file_that_does_not_arrive_whole_leaves_nothing(server: ServerProcess, worker: Worker) -> None:
    assignment = claimed(worker)
    headers = [("Headway-Lease", assignment.fields["lease"]), ("Content-Length", "1000")]
    head = request_bytes("PUT", "/work/double/files/half.txt", headers)
    with socket.create_connection(("127.0.0.1", server.port)) as cut:
        cut.sendall(head + b"half of it")
    assert assignment.ok("complete", {"result": 2})["status"] == "completed"
    assert server.job(assignment.job_id)["files"] == []


def test_the_files_of_an_attempt_that_was_lost_are_not_the_next_ones(server: ServerProcess, worker: Worker) -> None:
    silent = claimed(worker)
    silent.send("files/old.txt", b"old", "PUT")
    second = worker.claim()
    second.send("files/new.txt", b"new", "PUT")
    assert_problem(silent.send("files/late.txt", b"late", "PUT"), 409, "lease-lost")
    second.ok("complete", {"result": 2})
    assert [each["name"] for each in server.job(second.job_id)["files"]] == ["new.txt"]


def test_a_type_that_a_json_file_describes_is_validated_by_its_schemas(server: ServerProcess) -> None:
    body, content_type = multipart({"picture": b"PNG"}, {"width": 0, "crop": [1, "2"]})
    reply = server.request("POST", "/jobs/make-thumbnail", body, {"Content-Type": content_type})
    problem = assert_problem(reply, 422, "validation-failed", "/width", "/crop/1")
    assert problem["errors"][0]["detail"] == "the value is less than the minimum of 1"
    job_id = server.upload("make-thumbnail", {"picture": b"PNG"}, {"width": 20})
    assignment = Worker(server, "make-thumbnail").claim()
    assert (assignment.job_id, assignment.fields["input"]) == (job_id, {"width": 20})
    assert assignment.send("inputs/picture", method="GET").body == b"PNG"
    ended = assignment.ok("complete", {"result": {"width": 20}})
    assert (ended["status"], ended["error"]["type"]) == ("failed", "invalid-output")
    document = server.request("GET", "/openapi.json").json
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []
    types = {each["name"]: each for each in server.request("GET", "/job-types").json["jobTypes"]}
    assert types["make-thumbnail"]["inputSchema"]["$defs"]["pixels"]["maximum"] == 4096
