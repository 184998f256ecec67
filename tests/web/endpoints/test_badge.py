"""`GET /jobs/{id}/badge.svg`: what it shows, and when a client has it already."""

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.support.keys import bearer, make_key
from tests.support.process import Reply, ServerProcess, eventually
from tests.support.raw import assert_problem
from tests.support.serving import LATER, UNKNOWN, Serving, ended

SVG = "{http://www.w3.org/2000/svg}"


def shown(reply: Reply) -> list[str]:
    """The texts of a badge, which must be XML."""
    assert (reply.status, reply.headers["Content-Type"]) == (200, "image/svg+xml; charset=utf-8")
    return [text.text or "" for text in ET.fromstring(reply.body).iter(f"{SVG}text")]  # noqa: S314 - our own


def badge_of(server: ServerProcess, job_id: str) -> list[str]:
    return shown(server.request("GET", f"/jobs/{job_id}/badge.svg"))


def test_a_badge_shows_the_label_and_the_state(server: ServerProcess) -> None:
    assert badge_of(server, server.submit("noop", query=LATER)) == ["noop", "queued"]
    assert badge_of(server, ended(server, "noop", query="?label=Sales")) == ["Sales", "completed"]
    assert badge_of(server, ended(server, "fails", {"text": "x"})) == ["fails", "failed"]
    cancelled = server.submit("noop", query=LATER)
    server.request("DELETE", f"/jobs/{cancelled}")
    assert badge_of(server, cancelled) == ["noop", "cancelled"]


def test_a_running_job_shows_its_percentage_and_another_tag(server: ServerProcess) -> None:
    job_id = server.submit("steps-async", {"steps": 100_000, "step_s": 0.02})
    eventually(lambda: badge_of(server, job_id)[1].endswith("%"))
    etag = server.request("GET", f"/jobs/{job_id}/badge.svg").headers["ETag"]
    server.request("DELETE", f"/jobs/{job_id}?purge=false")
    server.wait_for(job_id)
    reply = server.request("GET", f"/jobs/{job_id}/badge.svg", headers={"If-None-Match": etag})
    assert shown(reply) == ["steps-async", "cancelled"]


@pytest.mark.parametrize(
    ("label", "text"),
    [
        ("%3C%2Ftext%3E%3Cscript%3E%26%22'", "</text><script>&\"'"),
        ("%EF%BF%BF%E2%80%AEa", "a"),
        ("%EF%BF%BE", "noop"),
        ("x" * 200, "x" * 47 + "…"),
        ("%E6%97%A5%E6%9C%AC", "日本"),
    ],
    ids=["markup", "no XML", "nothing left", "long", "wide"],
)
def test_a_label_is_only_text(server: ServerProcess, label: str, text: str) -> None:
    assert badge_of(server, server.submit("noop", query=f"{LATER}&label={label}"))[0] == text


def test_a_badge_that_the_client_has_is_a_304(server: ServerProcess) -> None:
    path = f"/jobs/{ended(server, 'noop')}/badge.svg"
    first = server.request("GET", path)
    assert first.headers["Cache-Control"] == "private, no-cache"
    assert first.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    for held in (first.headers["ETag"], "*"):
        again = server.request("GET", path, headers={"If-None-Match": held})
        assert (again.status, again.body, again.headers["ETag"]) == (304, b"", first.headers["ETag"])
    assert server.request("GET", path, headers={"If-None-Match": '"other"'}).status == 200
    head = server.request("HEAD", path)
    assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", str(len(first.body)))


def test_there_is_no_badge_of_an_unknown_job_and_no_parameter(server: ServerProcess) -> None:
    assert_problem(server.request("GET", f"/jobs/{UNKNOWN}/badge.svg"), 404, "not-found")
    assert_problem(server.request("GET", f"/jobs/{UNKNOWN}/badge.svg?color=red"), 422, "validation-failed", "/color")


def test_only_a_ticket_that_counts_opens_a_badge_to_other_sites(serving: Serving, tmp_path: Path) -> None:
    ann = dict(bearer(make_key(tmp_path, "ann")))
    server = serving(tmp_path)
    job_id = server.request("POST", f"/jobs/ping{LATER}", {}, ann).json["jobId"]
    ticket = server.request("POST", f"/jobs/{job_id}/tickets", {}, ann).json["ticket"]
    policies = [
        server.request("GET", f"/jobs/{job_id}/badge.svg{query}", headers=headers).headers[
            "Cross-Origin-Resource-Policy"
        ]
        for query, headers in ((f"?ticket={ticket}", {}), ("", ann), ("?ticket=x", ann), (f"?ticket={ticket}", ann))
    ]
    assert policies == ["cross-origin", "same-origin", "same-origin", "same-origin"]
