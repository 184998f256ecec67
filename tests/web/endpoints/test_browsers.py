"""A job's URL in a browser: its page. Programs get JSON from the same URL."""

from pathlib import Path

import pytest
from headway.web.negotiation import weights

from tests.support.keys import make_key
from tests.support.process import ServerProcess
from tests.support.raw import RawReply, assert_problem, send
from tests.support.serving import UNKNOWN, Serving, ended

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


def read(server: ServerProcess, path: str, accept: str | None, method: str = "GET") -> RawReply:
    return send(server, method, path, () if accept is None else (("Accept", accept),))


def test_a_browser_is_led_to_the_jobs_page(server: ServerProcess) -> None:
    job_id = ended(server, "noop")
    for method in ("GET", "HEAD"):
        reply = read(server, f"/jobs/{job_id}", BROWSER, method)
        assert (reply.status, reply.headers["Location"], reply.body) == (303, f"/#/jobs/{job_id}", b"")
        assert (reply.headers["Vary"], reply.headers["Cache-Control"]) == ("Accept", "private, no-cache")
    assert read(server, "/jobs/a%2fb%23", "text/html").headers["Location"] == "/#/jobs/a%2Fb%23"


@pytest.mark.parametrize(
    "accept",
    [
        *(None, "*/*", "application/json", "application/json, text/plain, */*", "text/html, application/json", ""),
        *("text/html;q=0.5, */*;q=0.8", "text/html;q=0, */*;q=0", "text/event-stream", "text/html;q=0.7, */*;q=0.7"),
    ],
)
def test_a_program_gets_json(server: ServerProcess, accept: str | None) -> None:
    job_id = ended(server, "noop")
    reply = read(server, f"/jobs/{job_id}", accept)
    assert (reply.status, reply.json["jobId"], reply.headers["Vary"]) == (200, job_id, "Accept, Accept-Encoding")


def test_only_the_jobs_own_url_without_options_leads_to_the_page(server: ServerProcess) -> None:
    job_id = ended(server, "noop")
    assert read(server, f"/jobs/{job_id}?wait=1", BROWSER).json["jobId"] == job_id
    assert read(server, f"/jobs/{job_id}?redirect=true", BROWSER).headers["Location"] == f"/jobs/{job_id}/result"
    assert read(server, f"/jobs/{job_id}/result", BROWSER).json is None
    assert read(server, "/jobs", BROWSER).json["jobs"]


def test_who_is_not_signed_in_is_led_to_the_page_which_asks_for_a_key(serving: Serving, tmp_path: Path) -> None:
    """Without a look at the job, so that nobody learns whether there is one. A wrong key is still a 401."""
    data_dir = tmp_path / "data"
    make_key(data_dir, "ann")
    server = serving(data_dir, env={"HEADWAY_PUBLIC_URL": "http://jobs.example.com/base"})
    reply = read(server, f"/jobs/{UNKNOWN}", BROWSER)
    assert (reply.status, reply.headers["Location"]) == (303, f"http://jobs.example.com/base/#/jobs/{UNKNOWN}")
    assert_problem(read(server, f"/jobs/{UNKNOWN}", "*/*"), 401, "unauthorized")
    assert_problem(read(server, f"/jobs/{UNKNOWN}/result", BROWSER), 401, "unauthorized")
    assert_problem(read(server, f"/jobs/{UNKNOWN}?wait=1", BROWSER), 401, "unauthorized")
    for method in ("DELETE", "POST"):
        assert_problem(read(server, f"/jobs/{UNKNOWN}", BROWSER, method), 401, "unauthorized")
    wrong = send(server, "GET", f"/jobs/{UNKNOWN}", (("Accept", BROWSER), ("Authorization", "Bearer hwk_x")))
    assert_problem(wrong, 401, "unauthorized")


def test_weights_are_those_of_rfc_9110() -> None:
    assert weights("a, B;q=0.5 , c;x=1;Q=0.25,d;q=0") == {"a": 1, "b": 0.5, "c": 0.25, "d": 0}
    assert weights("a;q=1.5, b;q=-1, c;q=, ,;q=1, d e, f;q=0.1234") == {"a": 1, "b": 1, "c": 1, "f": 1}
