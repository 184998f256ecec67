"""A job with more output files than its representation has: `filesTotal`, and `GET /jobs/{id}/files` page by page."""

from typing import Any

import pytest

from tests.support.process import ServerProcess
from tests.support.raw import assert_problem, send
from tests.support.representation import assert_representation

COUNT = 450


@pytest.fixture(scope="module")
def job(server: ServerProcess) -> Any:
    return server.wait_for(server.submit("many-files", {"count": COUNT}))


def pages(server: ServerProcess, path: str) -> list[Any]:
    """Every page from this one on, following the links."""
    found = []
    while path:
        reply = server.request("GET", path)
        assert reply.status == 200
        found.append(reply.json)
        link = reply.headers.get("Link", "")
        path = link.partition("<")[2].partition(">")[0]
        assert link == (f'<{path}>; rel="next"' if path else "")
        assert (found[-1]["nextCursor"] is None) == (not path)
    return found


def test_every_representation_has_the_first_hundred_files_and_their_number(server: ServerProcess, job: Any) -> None:
    shown = {name: value for name, value in job.items() if name not in ("input", "result")}
    in_list = next(one for one in server.request("GET", "/jobs").json["jobs"] if one["jobId"] == job["jobId"])
    *_, streamed = server.states(job["jobId"])
    in_stream_of_many = next(
        event.data for event in server.events(f"/jobs/progress?ids={job['jobId']}") if event.name is None
    )
    for one in (shown, in_list, streamed, in_stream_of_many):
        assert_representation(one)
        assert one["filesTotal"] == COUNT
        assert [file["name"] for file in one["files"]] == [f"{number:05}.txt" for number in range(100)]


@pytest.mark.parametrize("limit", [1, 100, 149, 200])
def test_all_files_are_listed_page_by_page(server: ServerProcess, job: Any, limit: int) -> None:
    path = f"/jobs/{job['jobId']}/files?limit={limit}"
    found = pages(server, path if limit > 1 else path + "&cursor=00440.txt")
    files = [file for page in found for file in page["files"]]
    first = 441 if limit == 1 else 0
    assert [file["name"] for file in files] == [f"{number:05}.txt" for number in range(first, COUNT)]
    assert {page["filesTotal"] for page in found} == {COUNT}
    assert [len(page["files"]) for page in found[:-1]] == [limit] * (len(found) - 1)
    if limit == 100:
        assert files[:100] == job["files"]
        assert server.request("GET", f"/jobs/{job['jobId']}/files").json == found[0], "100 is the default"


def test_a_file_beyond_the_first_hundred_is_downloaded(server: ServerProcess, job: Any) -> None:
    (last,) = server.request("GET", f"/jobs/{job['jobId']}/files?cursor=00448.txt").json["files"]
    reply = server.request("GET", last["url"])
    assert (reply.status, reply.body) == (200, b"449")
    assert_problem(send(server, "GET", f"/jobs/{job['jobId']}/files/00450.txt"), 404, "not-found")


def test_a_job_without_files_has_an_empty_page(server: ServerProcess) -> None:
    job_id = server.submit("noop")
    server.wait_for(job_id)
    reply = server.request("GET", f"/jobs/{job_id}/files")
    assert reply.json == {"files": [], "filesTotal": 0, "nextCursor": None}


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "sort=name"])
def test_a_query_that_no_list_has_is_a_422(server: ServerProcess, job: Any, query: str) -> None:
    reply = send(server, "GET", f"/jobs/{job['jobId']}/files?{query}")
    assert_problem(reply, 422, "validation-failed", "/" + query.partition("=")[0])


@pytest.mark.parametrize("cursor", ["%00", "%ff", "%ed%a0%80", "%25", "'", "..%2f", "x" * 2_000, "%F0%9F%98%80"])
def test_an_odd_cursor_is_a_place_in_the_list(server: ServerProcess, job: Any, cursor: str) -> None:
    reply = send(server, "GET", f"/jobs/{job['jobId']}/files?cursor={cursor}")
    assert reply.status in (200, 400, 422)


def test_files_of_an_unknown_job_are_404(server: ServerProcess) -> None:
    for job_id in ("01a1fa65-5e24-7000-907c-ce2934a25613", "x"):
        assert_problem(send(server, "GET", f"/jobs/{job_id}/files"), 404, "not-found")


def test_files_go_with_the_result(server: ServerProcess) -> None:
    job_id = server.submit("many-files", {"count": COUNT})
    server.wait_for(job_id)
    assert server.request("DELETE", f"/jobs/{job_id}/result").status == 204
    assert server.request("GET", f"/jobs/{job_id}/files").json == {"files": [], "filesTotal": 0, "nextCursor": None}
    assert_problem(send(server, "GET", f"/jobs/{job_id}/files/00000.txt"), 404, "not-found")
    assert server.job(job_id)["filesTotal"] == 0
