"""`POST /jobs/{type}` and `POST /jobs`, as JSON and as forms."""

import json
from typing import Any

import pytest

from tests.support.process import Reply, ServerProcess
from tests.support.raw import FORM, JSON, RawReply, assert_problem, form, part, send
from tests.support.representation import assert_representation
from tests.support.serving import Serving

DOCUMENT = part("document", b"hello", "a.txt", "Content-Type: text/plain")
COVER = part("cover", b"\x89PNG", "cover.png", "Content-Type: image/png")
INPUT = part("input", b'{"copies": 2}', None, "Content-Type: application/json")
TYPE = part("type", b"reads-upload")


def post(server: ServerProcess, path: str, body: Any) -> RawReply:
    return send(server, "POST", path, JSON, json.dumps(body).encode())


def post_form(server: ServerProcess, path: str, *parts: bytes) -> RawReply:
    return send(server, "POST", path, FORM, form(*parts))


def assert_accepted(reply: RawReply | Reply) -> Any:
    assert reply.status == 202, reply.body
    assert reply.headers["Content-Type"] == "application/json"
    job = reply.json
    assert_representation(job)
    assert reply.headers["Location"] == f"/jobs/{job['jobId']}"
    assert int(reply.headers["Retry-After"]) >= 1
    assert (job["status"], job["attempt"], job["version"]) == ("queued", 0, 1)
    return job


def test_a_typed_submission_is_accepted(server: ServerProcess) -> None:
    job = assert_accepted(post(server, "/jobs/steps-async", {"steps": 1}))
    assert (job["type"], job["label"], job["createdAt"]) == ("steps-async", None, job["runAt"])
    assert server.wait_for(job["jobId"])["input"] == {"steps": 1}


def test_options_of_a_typed_submission_are_query_parameters(server: ServerProcess) -> None:
    query = "?label=Gr%C3%BC%C3%9Fe&priority=7&runAt=2099-01-01T01:00:00.1239%2B01:00&timeoutSeconds=5&retainSeconds=60"
    job = assert_accepted(post(server, f"/jobs/noop{query}", {}))
    assert (job["label"], job["runAt"]) == ("Grüße", "2099-01-01T00:00:00.123Z")
    assert server.request("DELETE", f"/jobs/{job['jobId']}").status == 204


def test_an_enveloped_submission_is_accepted(server: ServerProcess) -> None:
    envelope = {
        "type": "says", "input": {"text": "hi"}, "label": "one", "priority": -5,
        "runAt": "2020-01-01T00:00:00Z", "timeoutSeconds": 2.5, "retainSeconds": 60,
    }  # fmt: skip
    job = assert_accepted(post(server, "/jobs", envelope))
    assert (job["type"], job["label"], job["runAt"]) == ("says", "one", "2020-01-01T00:00:00.000Z")
    assert server.wait_for(job["jobId"])["result"] == "hi"


def test_an_envelope_needs_only_a_type(server: ServerProcess) -> None:
    assert_accepted(post(server, "/jobs", {"type": "noop"}))
    assert_accepted(post(server, "/jobs", {"type": "noop", "label": None, "runAt": None, "timeoutSeconds": None}))


def test_an_absent_body_is_an_empty_input(server: ServerProcess) -> None:
    assert_accepted(send(server, "POST", "/jobs/noop"))


def test_year_one_is_written_with_four_digits(server: ServerProcess) -> None:
    job = assert_accepted(post(server, "/jobs/noop?runAt=0001-01-01T00:00:00Z", {}))
    assert job["runAt"] == "0001-01-01T00:00:00.000Z"


@pytest.mark.parametrize("parts", [(DOCUMENT, INPUT), (INPUT, DOCUMENT), (COVER, INPUT, DOCUMENT)])
def test_a_form_has_its_parts_in_any_order(server: ServerProcess, parts: tuple[bytes, ...]) -> None:
    job_id = assert_accepted(post_form(server, "/jobs/reads-upload", *parts))["jobId"]
    job = server.wait_for(job_id)
    assert job["result"] | {"cover": None} == {
        "filename": "a.txt", "contentType": "text/plain", "sizeBytes": 5, "text": "hello", "cover": None, "copies": 2,
    }  # fmt: skip
    assert job["input"]["document"] == {"name": "a.txt", "sizeBytes": 5, "contentType": "text/plain"}
    assert job["input"]["copies"] == 2
    assert ("cover" in job["input"]) == (COVER in parts)


def test_a_form_needs_no_input_part(server: ServerProcess) -> None:
    job_id = assert_accepted(post_form(server, "/jobs/reads-upload?label=form", DOCUMENT))["jobId"]
    job = server.wait_for(job_id)
    assert (job["result"]["copies"], job["label"]) == (1, "form")


@pytest.mark.parametrize("order", [1, -1])
def test_an_envelope_can_be_a_form(server: ServerProcess, order: int) -> None:
    parts = [TYPE, part("label", "für alle".encode()), part("priority", b"5"), INPUT, DOCUMENT]
    job = assert_accepted(post_form(server, "/jobs", *parts[::order]))
    assert (job["type"], job["label"]) == ("reads-upload", "für alle")
    assert server.wait_for(job["jobId"])["result"]["copies"] == 2


def test_a_part_with_a_length_of_its_own_is_not_cut(server: ServerProcess) -> None:
    lying = part("document", b"hello", "a.txt", "Content-Length: 2")
    job_id = assert_accepted(post_form(server, "/jobs/reads-upload", lying))["jobId"]
    assert server.wait_for(job_id)["result"]["text"] == "hello"


def test_a_file_name_is_text_and_never_a_path(server: ServerProcess) -> None:
    document = part("document", b"hello", "../../../etc/passwd")
    job_id = assert_accepted(post_form(server, "/jobs/reads-upload", document))["jobId"]
    assert server.wait_for(job_id)["result"]["filename"].endswith("passwd")


def test_the_input_may_come_as_a_file_as_form_data_makes_one_of_a_blob(server: ServerProcess) -> None:
    parts = (part("document", b"hello", "a.txt"), part("input", b'{"copies": 3}', "blob"))
    job_id = assert_accepted(post_form(server, "/jobs/reads-upload", *parts))["jobId"]
    assert server.wait_for(job_id)["result"]["copies"] == 3


def test_a_file_of_no_bytes_and_no_name_is_a_file(server: ServerProcess) -> None:
    job_id = assert_accepted(post_form(server, "/jobs/reads-upload", part("document", b"", "")))["jobId"]
    assert server.wait_for(job_id)["result"]["sizeBytes"] == 0


@pytest.mark.parametrize(
    ("parts", "pointer"),
    [
        ((INPUT,), "/document"),
        ((DOCUMENT, DOCUMENT), "/document"),
        ((INPUT, INPUT, DOCUMENT), "/input"),
        ((DOCUMENT, part("other", b"x", "x.txt")), "/other"),
        ((DOCUMENT, part("label", b"x")), "/label"),
        ((part("document", b"as text"),), "/document"),
        ((DOCUMENT, part("input", b'{"copies": "2"}')), "/copies"),
        ((DOCUMENT, part("input", b"[]")), ""),
        ((DOCUMENT, part("input", b'{"copies": NaN}')), "/copies"),
        ((DOCUMENT, part("input", b'{"copies": "many"}')), "/copies"),
        ((DOCUMENT, part("input", b'{"document": "x"}')), "/document"),
        ((part("../document", b"x", "x"),), "/..~1document"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_form_with_the_wrong_parts_is_not_valid(
    server: ServerProcess, parts: tuple[bytes, ...], pointer: str
) -> None:
    assert_problem(post_form(server, "/jobs/reads-upload", *parts), 422, "validation-failed", pointer)


@pytest.mark.parametrize(
    ("parts", "pointer"),
    [
        ((DOCUMENT,), "/type"),
        ((TYPE,), "/input/document"),
        ((TYPE, TYPE, DOCUMENT), "/type"),
        ((TYPE, DOCUMENT, part("surprise", b"x")), "/surprise"),
        ((TYPE, DOCUMENT, part("webhookUrl", b"http://127.0.0.1/")), "/webhookUrl"),
        ((TYPE, DOCUMENT, part("priority", b"high")), "/priority"),
        ((TYPE, DOCUMENT, part("input", b'{"copies": 1e999}')), "/input/copies"),
        ((TYPE, DOCUMENT, part("input", b"5")), "/input"),
        ((TYPE, DOCUMENT, part("label", b"a\r\nX-Injected: yes")), "/label"),
        ((TYPE, part("document", b"as text")), "/document"),
        ((part("type", b"noop"), DOCUMENT), "/document"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_form_with_the_wrong_fields_is_not_valid(
    server: ServerProcess, parts: tuple[bytes, ...], pointer: str
) -> None:
    assert_problem(post_form(server, "/jobs", *parts), 422, "validation-failed", pointer)


@pytest.mark.parametrize("value", ["a path", {"path": "/etc/passwd"}, None, 5])
@pytest.mark.parametrize("field", ["document", "cover"])
def test_an_upload_cannot_be_named_in_json(server: ServerProcess, field: str, value: Any) -> None:
    assert_problem(post(server, "/jobs/reads-upload", {field: value}), 422, "validation-failed", f"/{field}")
    envelope = {"type": "reads-upload", "input": {field: value}}
    assert_problem(post(server, "/jobs", envelope), 422, "validation-failed", f"/input/{field}")


def test_a_type_that_cannot_run_here_says_why(server: ServerProcess) -> None:
    problem = assert_problem(post(server, "/jobs/never-available", {}), 503, "job-type-unavailable")
    assert problem["detail"] == "the moon is not full"
    assert_problem(post(server, "/jobs", {"type": "never-available"}), 503, "job-type-unavailable")


def test_a_full_queue_refuses_until_there_is_room(serving: Serving) -> None:
    server = serving(":memory:", env={"HEADWAY_MAX_QUEUED": "2"})
    waiting = [server.submit("noop", query="?runAt=2099-01-01T00:00:00Z") for _ in range(2)]
    for reply in (
        post(server, "/jobs/noop", {}),
        post(server, "/jobs", {"type": "noop"}),
        post_form(server, "/jobs/reads-upload", DOCUMENT),
    ):
        assert_problem(reply, 503, "queue-full")
        assert int(reply.headers["Retry-After"]) >= 1
    assert server.request("DELETE", f"/jobs/{waiting[0]}").status == 204
    assert_accepted(post(server, "/jobs/noop", {}))
