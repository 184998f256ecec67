"""Whatever text a handler hands over, every job can be read: alone, in lists, in streams."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.process import ROOT, ServerProcess
from tests.support.representation import assert_representation
from tests.web.conftest import assert_no_unexpected_errors

JOBS = ROOT / "tests" / "job_types" / "odd_text_jobs.py"
BOTH_KINDS = pytest.mark.parametrize("job_type", ["odd-process", "odd-async"])


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with ServerProcess(":memory:", "--jobs", str(JOBS)) as server:
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
def test_whoever_writes_without_end_fills_neither_log(server: ServerProcess, job_type: str, what: str) -> None:
    before = len(server.log())
    job_id = server.submit(job_type, {"what": what, "megabytes": 3})
    server.wait_for(job_id)
    lines = server.request("GET", f"/jobs/{job_id}/logs?limit=1000").json["lines"]
    *written, last = [line["message"] for line in lines]
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
