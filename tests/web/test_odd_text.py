"""Whatever text a handler hands over, every job can be read: alone, in lists, in streams."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.process import ServerProcess
from tests.support.raw import BOUNDARY, RawStream, data_of, form, is_state, part
from tests.support.receiver import Receiver
from tests.support.representation import assert_representation
from tests.support.serving import ODD_JOBS
from tests.web.conftest import assert_no_unexpected_errors

BOTH_KINDS = pytest.mark.parametrize("job_type", ["odd-process", "odd-async"])


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def server(receiver: Receiver) -> Iterator[ServerProcess]:
    with ServerProcess(":memory:", "--jobs", str(ODD_JOBS), env={"HEADWAY_WEBHOOK_ALLOW": "127.0.0.0/8"}) as server:
        yield server
        assert_no_unexpected_errors(server)


def in_every_place(server: ServerProcess, job_id: str) -> dict[str, Any]:
    """The job as a poll, a list and both kinds of stream show it, which is the same everywhere."""
    job: dict[str, Any] = server.request("GET", f"/jobs/{job_id}").json
    assert_representation(job, detail=True)
    shown = {name: value for name, value in job.items() if name not in ("input", "result")}
    assert shown in server.request("GET", "/jobs?limit=200").json["jobs"]
    *_, last = server.states(job_id)
    assert last == shown
    assert next(event.data for event in server.events(f"/jobs/progress?ids={job_id}") if event.name is None) == shown
    return job


@BOTH_KINDS
@pytest.mark.parametrize("way", ["fail", "raise", "chain"])
def test_a_lone_surrogate_in_an_error_breaks_no_poll_list_or_stream(
    server: ServerProcess, job_type: str, way: str
) -> None:
    job_id = server.submit(job_type, {"text": r"a\ud800\x1b[31m\0b", "way": way})
    server.wait_for(job_id)
    job = in_every_place(server, job_id)
    assert "a��b" in job["error"]["detail"]
    assert "a��b" in server.request("GET", f"/jobs/{job_id}/result").json["jobError"]["detail"]
    assert "a��b" in server.request("GET", f"/jobs/{job_id}/logs").json["lines"][0]["message"]


@BOTH_KINDS
@pytest.mark.parametrize("way", ["fail", "raise", "chain"])
def test_an_error_of_ten_megabytes_is_cut_and_says_so(server: ServerProcess, job_type: str, way: str) -> None:
    before = len(server.log())
    job_id = server.submit(job_type, {"text": r"long\n", "times": 2_000_000, "way": way})
    server.wait_for(job_id)
    assert "characters)" in in_every_place(server, job_id)["error"]["detail"]
    assert len(server.request("GET", f"/jobs/{job_id}").body) < 20_000
    assert len(server.log()) - before < 300_000


def messages(server: ServerProcess, job_id: str) -> list[str]:
    """Those of all log lines, of which a slow machine keeps more than a page has."""
    found: list[str] = []
    after = 0
    while lines := server.request("GET", f"/jobs/{job_id}/logs?limit=1000&after={after}").json["lines"]:
        found += [line["message"] for line in lines]
        after = lines[-1]["seq"]
    return found


MUCH = pytest.mark.parametrize("job_type", ["much-process", "much-async"])


@MUCH
def test_a_message_of_a_hundred_megabytes_is_cut_and_says_so(server: ServerProcess, job_type: str) -> None:
    job_id = server.submit(job_type, {"what": "message", "megabytes": 100})
    server.wait_for(job_id)
    job = in_every_place(server, job_id)
    for text in (job["message"], job["unit"], job["step"]):
        assert text.endswith("x… (cut from 100,000,000 characters)")


@MUCH
@pytest.mark.parametrize("what", ["log", "printed line"])
def test_a_line_of_a_hundred_megabytes_is_cut_in_both_logs(server: ServerProcess, job_type: str, what: str) -> None:
    before = len(server.log())
    job_id = server.submit(job_type, {"what": what, "megabytes": 100})
    server.wait_for(job_id)
    (line,) = server.request("GET", f"/jobs/{job_id}/logs").json["lines"]
    assert line["message"].endswith("x… (cut from 100,000,000 characters)")
    assert len(server.log()) - before < 20_000


@MUCH
@pytest.mark.parametrize("what", ["print", "logging"])
def test_a_handler_that_writes_without_end_fills_neither_log(server: ServerProcess, job_type: str, what: str) -> None:
    before = len(server.log())
    job_id = server.submit(job_type, {"what": what, "megabytes": 3})
    server.wait_for(job_id)
    *written, last = messages(server, job_id)
    assert set(written) == {"y" * 100}
    assert last == f"{30_000 - len(written):,} log lines were dropped: there were too many"
    log = server.log()[before:]
    assert len(log) < 1_500_000
    assert "lines were dropped: the handler wrote too many" in log


@MUCH
def test_a_checkpoint_over_the_limit_is_an_error_of_its_handler(server: ServerProcess, job_type: str) -> None:
    job_id = server.submit(job_type, {"what": "checkpoint", "megabytes": 50})
    error = server.wait_for(job_id)["error"]
    assert error["type"] == "handler-error"
    assert error["detail"].startswith("ValueError: a checkpoint has at most 1,048,576 bytes as JSON, not 50,000,002")


@MUCH
def test_a_result_over_the_limit_is_invalid_output(server: ServerProcess, job_type: str) -> None:
    job_id = server.submit(job_type, {"what": "result", "megabytes": 50})
    assert server.wait_for(job_id)["error"]["type"] == "invalid-output"
    fits = server.submit(job_type, {"what": "result", "megabytes": 16})
    server.wait_for(fits)
    assert len(server.request("GET", f"/jobs/{fits}/result").json) == 16_000_000


# Whatever text, in every field at once

ODD_PARTS = st.sampled_from(
    [
        *("\ud800", "\udfff", "\udcff", "\0", "\x07", "\x1b[31m", "\x1b]0;", "\x7f", "\x85", "\x9b", "\r", "\n"),
        *("\r\n", "\n\n", "\u2028", "\ufeff", "\ufffe", "\u202e", "data: ", "event: error", "id: 9", "retry: 0", ":"),
        *("</script>", "<!--", '"', "\\", "/", "..", "%", "😀", "é", "e\u0301", " ", "fail", "raise", "x" * 600),
        "y" * 5_000,
    ]
)
ODD_TEXTS = st.lists(st.one_of(ODD_PARTS, st.text(st.characters(), max_size=5)), min_size=1, max_size=6).map("".join)
EVERYWHERE = ["everywhere-process", "everywhere-async"]


def assert_clean(value: Any) -> None:
    """No text in it has a control character; line breaks and tabs are allowed."""
    if isinstance(value, str):
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]", value)
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        assert_clean(inner)


@settings(max_examples=25)
@given(text=ODD_TEXTS, job_type=st.sampled_from(EVERYWHERE))
@example(text="a\ud800b", job_type="everywhere-async")
@example(text="{braces}", job_type="everywhere-process")
@example(text="fail\ud800\n\nevent: x\r", job_type="everywhere-process")
def test_odd_text_in_every_field_of_a_handler_is_shown_everywhere(
    server: ServerProcess, receiver: Receiver, text: str, job_type: str
) -> None:
    written = text.encode("unicode_escape").decode("ascii")
    envelope = {"type": job_type, "input": {"text": written}, "webhookUrl": receiver.url()}
    job_id = server.request("POST", "/jobs", envelope).json["jobId"]
    server.wait_for(job_id)
    job = in_every_place(server, job_id)
    del job["input"], job["result"]
    assert_clean({**job, "files": None})  # whose names are what they are, in JSON and percent-encoded in URLs
    with RawStream(server, f"/jobs/{job_id}/progress") as stream:
        frames = list(stream.frames())
    assert all(re.fullmatch(rb"(?:(?:event|id|data): [^\r\n]*\n)+\n", frame) for frame in frames)
    lines = server.request("GET", f"/jobs/{job_id}/logs").json["lines"]
    assert_clean(lines)
    assert [data_of(frame) for frame in frames if not is_state(frame)] == lines
    (ended,) = receiver.wait_for(event=f"job.{job['status']}", job_id=job_id)
    assert {**ended.json["data"], "queuePosition": None} == job
    assert server.request("GET", f"/jobs/{job_id}/result").status < 500 or job["error"]["status"] == 500
    for file in job["files"]:
        assert server.request("GET", file["url"]).body == b"x"


@settings(max_examples=50)
@given(text=ODD_TEXTS)
def test_odd_text_in_every_field_of_a_client_is_refused_or_shown(server: ServerProcess, text: str) -> None:
    query = quote(text, errors="surrogatepass")
    document = part("document", b"x", None, "Content-Type: text/plain").replace(
        b'name="document"', b"name=\"document\"; filename*=UTF-8''" + query.encode()
    )
    body = form(part("input", b'{"text": "x"}'), document)
    kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    uploaded = server.request("POST", "/jobs/everywhere-async", body, kind)
    replies = [
        uploaded,
        *(server.request("GET", f"/jobs?{name}={query}") for name in ("label", "type", "cursor", "status", query)),
        server.request("GET", f"/jobs/{query or 'x'}"),
        server.request("POST", f"/jobs/everywhere-async?label={query}", {"text": "x"}),
        *(
            server.request("POST", "/jobs", {"type": "everywhere-async", "input": {"text": "x"}} | {name: text})
            for name in ("label", "type", "webhookUrl", "runAt", text)
        ),
    ]
    for reply in replies:
        assert reply.status in (200, 202, 400, 404, 422), reply.body
        labelled = reply.json.get("label")
        assert labelled in (None, text)
    if uploaded.status == 202:
        assert_clean(uploaded.json)
        assert_clean(server.job(uploaded.json["jobId"])["input"]["document"])
    assert_clean([job["label"] for job in server.request("GET", "/jobs?limit=200").json["jobs"]])


def test_odd_text_of_a_declaration_is_shown_in_the_list_of_types(server: ServerProcess) -> None:
    types = {found["name"]: found for found in server.request("GET", "/job-types").json["jobTypes"]}
    assert (types["everywhere-process"]["title"], types["everywhere-process"]["description"]) == ("�Odd ", "�")
    assert types["oddly-unavailable"]["unavailableReason"].endswith("… (cut from 6,000 characters)")
    broken = types["check-is-broken"]["unavailableReason"]
    assert broken == "The check of whether it can run failed: RuntimeError: �"
    assert server.request("POST", "/jobs/oddly-unavailable", {}).status == 503
    assert server.request("POST", "/jobs/check-is-broken", {}).status == 503
    assert server.request("GET", "/openapi.json").status == 200
