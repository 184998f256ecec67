"""The job types of the author's guide run, and end as the guide says."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.docs.pages import blocks_of
from tests.support.process import ROOT, ServerProcess

GUIDE = ROOT / "docs/authors.md"

INPUTS: dict[str, Any] = {
    "digest": {"text": "abc"},
    "order": {"article": "tea"},
    "print-invoices": {"month": "2026-03-01"},
    "take-note": {"text": "buy tea"},
    "take-order": {"customer": "Ann"},
    "count-primes": {"start": 0, "end": 100},
    "sort-lines": {"text": "b\na\nb\n"},
}
RESULTS: dict[str, Any] = {
    "digest": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    "wait-a-moment": None,
    "print-invoices": {"printed": 1},
    "steps": 200,
    "careful": "done",
    "long-import": 10,
    "take-note": 1,
    "take-order": 1,
    "count-primes": 25,
    "sort-lines": "a\nb\n",
    "print-and-log": None,
    "thumbnails": 0,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("authors")
    arguments: list[str] = []
    for block in blocks_of(GUIDE):
        if block.file:
            (folder / block.file).write_text(block.text)
            arguments += ["--jobs", str(folder / block.file)]
    with ServerProcess(":memory:", *arguments) as server:
        yield server


@pytest.mark.parametrize(("job_type", "result"), RESULTS.items(), ids=list(RESULTS))
def test_a_job_type_of_the_guide_completes(server: ServerProcess, job_type: str, result: Any) -> None:
    job = server.wait_for(server.submit(job_type, INPUTS.get(job_type)))
    assert (job["status"], job["result"]) == ("completed", result), job["error"]


def test_the_failure_of_the_guide_says_what_its_author_chose(server: ServerProcess) -> None:
    url = f"http://127.0.0.1:{server.port}/nothing"
    job = server.wait_for(server.submit("fetch-page", {"url": url}))
    assert (job["status"], job["attempt"]) == ("failed", 1)
    assert job["error"] == {
        "type": "no-page", "title": "The page cannot be fetched", "detail": "It responded with 404.", "status": 424
    }  # fmt: skip
    assert server.request("GET", f"/jobs/{job['jobId']}/result").status == 424


def test_the_links_of_the_guide_are_checked_in_one_session(server: ServerProcess) -> None:
    urls = [f"http://127.0.0.1:{server.port}/{path}" for path in ("healthz", "nothing")]
    job = server.wait_for(server.submit("check-links", {"urls": urls}))
    assert (job["status"], job["result"]) == ("completed", dict(zip(urls, (200, 404), strict=True))), job["error"]


def test_every_job_type_of_the_guide_is_tried() -> None:
    declared = {
        name for block in blocks_of(GUIDE) for name in re.findall(r'^@job\("([a-z-]+)"', block.text, re.MULTILINE)
    }
    assert declared == {*RESULTS, "check-links", "fetch-page", "order"}  # the guide itself submits an order
