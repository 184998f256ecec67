"""`metadata`: what a client ties to its job, in every way to submit one."""

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from headway.service.options import MAX_METADATA, MAX_METADATA_NAME_CHARS, MAX_METADATA_VALUE_CHARS

from tests.support.process import ServerProcess
from tests.support.raw import FORM, RawReply, assert_problem, form, part, send
from tests.support.serving import ended

GIVEN = {"order": "4711", "a.b_c-D": 'é "😀" version', "empty": ""}
SAYS = {"type": "says", "input": {"text": "hello"}}


def by_form(server: ServerProcess, text: str) -> RawReply:
    parts = (
        part("type", b"says", None),
        part("input", b'{"text": "hello"}', None),
        part("metadata", text.encode(), None),
    )
    return send(server, "POST", "/jobs", FORM, form(*parts))


def by_query(server: ServerProcess, text: str) -> Any:
    return server.request("POST", f"/jobs/says?{urlencode({'metadata': text})}", {"text": "hello"})


def test_each_way_to_submit_a_job_takes_metadata(server: ServerProcess) -> None:
    replies = [
        server.request("POST", "/jobs", {**SAYS, "metadata": GIVEN}).json,
        by_query(server, json.dumps(GIVEN)).json,
        by_form(server, json.dumps(GIVEN)).json,
    ]
    (outcome,) = server.request("POST", "/jobs/batch", {"jobs": [{**SAYS, "metadata": GIVEN}]}).json["outcomes"]
    replies.append(server.request("GET", outcome["location"]).json)
    assert [reply["metadata"] for reply in replies] == [GIVEN] * 4
    assert list(replies[0]["metadata"]) == list(GIVEN)
    for reply in replies:
        server.wait_for(reply["jobId"])
        assert server.job(reply["jobId"])["metadata"] == GIVEN
    assert server.request("GET", "/jobs?limit=1").json["jobs"][0]["metadata"] == GIVEN
    assert server.request("POST", "/jobs/says", {"text": "hello"}).json["metadata"] == {}


def test_a_retry_keeps_the_metadata(server: ServerProcess) -> None:
    failed = ended(server, "fails", {"text": "no"}, f"?{urlencode({'metadata': json.dumps(GIVEN)})}")
    assert server.request("POST", f"/jobs/{failed}/retry").json["metadata"] == GIVEN


def test_an_idempotency_key_stands_for_the_metadata_too(server: ServerProcess) -> None:
    key = {"Idempotency-Key": '"with metadata"'}
    first = server.request("POST", "/jobs", {**SAYS, "metadata": GIVEN}, key)
    assert first.status == 202
    again = server.request("POST", "/jobs", {**SAYS, "metadata": dict(reversed(GIVEN.items()))}, key)
    assert again.json["jobId"] == first.json["jobId"]
    assert server.request("POST", "/jobs", {**SAYS, "metadata": {"order": "1"}}, key).status == 422


@pytest.mark.parametrize(
    ("metadata", "pointer"),
    [
        ({"": "a"}, "/metadata//[key]"),
        ({"a b": "a"}, "/metadata/a b/[key]"),
        ({"a": 1}, "/metadata/a"),
        ({"a": None}, "/metadata/a"),
        ({"a": "b\u0007"}, "/metadata/a"),
        ({"a" * (MAX_METADATA_NAME_CHARS + 1): ""}, f"/metadata/{'a' * (MAX_METADATA_NAME_CHARS + 1)}/[key]"),
        ({"a": "b" * (MAX_METADATA_VALUE_CHARS + 1)}, "/metadata/a"),
        ({str(number): "" for number in range(MAX_METADATA + 1)}, "/metadata"),
        (["a"], "/metadata"),
    ],
    ids=["no-name", "space", "number", "null", "control", "long-name", "long-value", "too-many", "list"],
)
def test_what_is_no_metadata_is_refused(server: ServerProcess, metadata: Any, pointer: str) -> None:
    text = json.dumps(metadata)
    for reply in (
        server.request("POST", "/jobs", {**SAYS, "metadata": metadata}),
        by_query(server, text),
        by_form(server, text),
    ):
        assert_problem(reply, 422, "validation-failed", pointer)


def test_text_that_is_no_json_is_refused(server: ServerProcess) -> None:
    for text in ("order", "{", '{"a": "\\ud800"}'):
        for reply in (by_query(server, text), by_form(server, text)):
            assert_problem(reply, 422, "validation-failed", "/metadata")
    assert_problem(server.request("POST", "/jobs", {**SAYS, "metadata": "{}"}), 422, "validation-failed", "/metadata")
