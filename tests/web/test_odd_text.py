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
