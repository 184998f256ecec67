"""Links: to the result once the job has ended, and absolute with a public URL."""

import pytest

from tests.support.process import ServerProcess
from tests.support.raw import RawStream, assert_problem, data_of, send
from tests.support.serving import LATER, UNKNOWN, Serving, ended

PUBLIC_URL = "https://jobs.example.com/some/prefix"


@pytest.mark.parametrize(
    ("job_type", "input", "status"),
    [("steps-async", {"steps": 2}, 200), ("fails", {"text": "tomorrow"}, 409), (None, None, 410)],
)
def test_an_ended_job_links_to_its_result(
    server: ServerProcess, job_type: str | None, input: object, status: int
) -> None:
    """In any terminal state; behind the link a failure is an HTTP error."""
    if job_type is None:
        job_id = server.submit("noop", query=LATER)
        server.request("DELETE", f"/jobs/{job_id}")
    else:
        job_id = ended(server, job_type, input)
    for condition in ((), (("If-None-Match", "*"),)):
        reply = send(server, "GET", f"/jobs/{job_id}?redirect=true", condition)
        assert (reply.status, reply.headers["Location"], reply.body) == (303, f"/jobs/{job_id}/result", b"")
        assert reply.headers["Cache-Control"] == "private, no-cache"
        assert "Retry-After" not in reply.headers
    assert send(server, "GET", reply.headers["Location"]).status == status
    assert send(server, "GET", f"/jobs/{job_id}?redirect=false").status == 200


def test_a_job_in_progress_has_no_result_link(server: ServerProcess) -> None:
    job_id = server.submit("noop", query=LATER)
    reply = server.request("GET", f"/jobs/{job_id}?redirect=true")
    assert (reply.status, reply.json["status"]) == (202, "queued")
    assert int(reply.headers["Retry-After"]) >= 1
    assert server.request("DELETE", f"/jobs/{job_id}").status == 204


def test_a_redirect_happens_only_on_request(server: ServerProcess) -> None:
    job_id = ended(server, "noop")
    assert_problem(send(server, "GET", f"/jobs/{job_id}?redirect=perhaps"), 422, "validation-failed", "/redirect")
    assert_problem(send(server, "GET", f"/jobs/{UNKNOWN}?redirect=true"), 404, "not-found")


def test_a_ticket_travels_along_with_a_redirect_below_the_job(server: ServerProcess) -> None:
    """And nowhere else: not to a URL that the handler chose."""
    job_id, todo_id = ended(server, "noop"), ended(server, "todo", {"title": "Buy milk"})
    for of_job, follows in ((job_id, f"/jobs/{job_id}/result?ticket={{}}"), (todo_id, "/api/todos/")):
        ticket = server.request("POST", f"/jobs/{of_job}/tickets", {}).json["ticket"]
        reply = send(server, "GET", f"/jobs/{of_job}?redirect=true&ticket={ticket}")
        assert reply.status == 303
        assert reply.headers["Location"].startswith(follows.format(ticket))
        assert ("ticket" in reply.headers["Location"]) == ("ticket" in follows)
        assert send(server, "GET", reply.headers["Location"]).status == 200


@pytest.mark.parametrize("given", [PUBLIC_URL, f"{PUBLIC_URL}/"])
def test_links_are_absolute_with_a_public_url(serving: Serving, given: str) -> None:
    server = serving(":memory:", "--insecure", env={"HEADWAY_PUBLIC_URL": given})
    submitted = server.request("POST", "/jobs/writes-files?label=one", {"text": "x"})
    job_url = f"{PUBLIC_URL}/jobs/{submitted.json['jobId']}"
    assert submitted.headers["Location"] == submitted.json["statusUrl"] == job_url
    path = job_url.removeprefix(PUBLIC_URL)
    with RawStream(server, f"{path}/progress") as stream:
        states = [data_of(frame) for frame in stream.frames() if not frame.startswith(b"event:")]
    job = server.request("GET", path).json
    listed = server.request("GET", "/jobs?label=one").json["jobs"][0]
    for shown in (states[-1], job, listed):
        assert shown["statusUrl"] == job_url
        assert shown["progressUrl"] == f"{job_url}/progress"
        assert shown["resultUrl"] == f"{job_url}/result"
        assert {file["name"]: file["url"] for file in shown["files"]}["data.csv"] == f"{job_url}/files/data.csv"
    assert send(server, "GET", f"{path}?redirect=true").headers["Location"] == f"{job_url}/result"
    assert server.request("GET", f"{path}/nowhere").json["instance"] == f"{job_url}/nowhere"
    server.submit("noop", query="?label=one")
    link = server.request("GET", "/jobs?limit=1&label=one").headers["Link"]
    assert link.startswith(f"<{PUBLIC_URL}/jobs?limit=1&label=one&cursor=")
    assert server.request("GET", "/openapi.json").json["servers"] == [{"url": PUBLIC_URL}]


def test_a_cancel_that_takes_its_time_links_to_the_job(serving: Serving) -> None:
    server = serving(":memory:", "--insecure", env={"HEADWAY_PUBLIC_URL": PUBLIC_URL})
    job_id = server.submit("stubborn-process")
    next(state for state in server.states(job_id) if state["message"])  # from then on it does not stop
    reply = server.request("DELETE", f"/jobs/{job_id}")
    assert (reply.status, reply.headers["Location"]) == (202, f"{PUBLIC_URL}/jobs/{job_id}")
