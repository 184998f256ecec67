"""The JavaScript client in a page on another origin, which has no key: its backend gets a ticket for one job."""

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.keyed import KeyedServer
from tests.browser.tab import PageServer, Tab
from tests.support.process import eventually
from tests.support.threaded import ThreadedServer

UNAUTHORIZED = "401"

PAGE = """<!doctype html><title>OtherSite</title><link rel="icon" href="data:,">
<progress id="bar" max="100"></progress><script type="module">
import { Client } from 'HEADWAY/static/headway.js';
window.states = [];
const getTicket = async () => (await fetch('/ticket')).json();
const job = new Client('HEADWAY').job('URL_OF_JOB', { OPTIONS });
window.watched = job.wait({
  onState: (state) => { window.states.push(state.status); bar.value = state.progress ?? 0; },
}).then(async (ended) => ({ ...ended, result: ended.status === 'completed' ? await job.result() : null }))
  .then((job) => ({ job }), ({ name, status, cause }) => ({ error: name, status, cause: String(cause) }));
</script>"""


class OtherSite(ThreadedServer):
    """A page and its backend, on an origin of their own. The backend has a key; the page has none."""

    def __init__(self) -> None:
        self.html = ""
        self.lasts_s: list[int] = []
        """The lifetimes of the tickets that it gets, one after the other; after these it has none."""
        self.tickets: list[str] = []
        super().__init__(type("Handler", (_Handler,), {"site": self}))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def about(self, headway: KeyedServer, job_id: str) -> None:
        self.headway, self.job_id = headway, job_id

    def ticket(self) -> Any:
        """Request a ticket as a backend would, with a key that stays there."""
        body = {"expiresInSeconds": self.lasts_s.pop(0)}
        reply = self.headway.request("POST", f"/jobs/{self.job_id}/tickets", body)
        assert reply.status == 201, reply.body
        self.tickets.append(reply.json["ticket"])
        return reply.json


class _Handler(BaseHTTPRequestHandler):
    site: OtherSite

    def do_GET(self) -> None:  # as the base class calls it
        if self.path == "/":
            self._send(200, "text/html", self.site.html)
        elif self.path == "/ticket" and self.site.lasts_s:
            self._send(200, "application/json", json.dumps(self.site.ticket()["ticket"]))
        else:
            self._send(404, "text/plain", "nothing")

    def _send(self, status: int, content_type: str, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: the tests check the page."""


@pytest.fixture
def site() -> Iterator[OtherSite]:
    with OtherSite() as page:
        yield page


@pytest.fixture
def headway(tmp_path: Path, site: OtherSite) -> Iterator[KeyedServer]:
    with KeyedServer(tmp_path / "data", {"HEADWAY_CORS_ORIGINS": site.url}) as server:
        yield server


@pytest.fixture
def tab(headway: KeyedServer, new_tab: Callable[[PageServer], Tab]) -> Tab:
    return new_tab(headway)


def watch(tab: Tab, site: OtherSite, headway: KeyedServer, url: str, options: str = "") -> None:
    """Opens their page, which watches the job at this URL."""
    site.html = PAGE.replace("HEADWAY", headway.url).replace("URL_OF_JOB", url).replace("OPTIONS", options)
    tab.page.goto(site.url)


def outcome(tab: Tab) -> Any:
    return tab.page.evaluate("window.watched")


def test_with_a_ticket_in_the_url_a_page_on_another_origin_follows_a_job_to_its_result(
    tab: Tab, headway: KeyedServer, site: OtherSite
) -> None:
    job_id = headway.submit("bulk", {"items": 20_000})  # too big to stand in the job itself
    site.about(headway, job_id)
    site.lasts_s = [300]
    made = site.ticket()
    watch(tab, site, headway, made["progressUrl"].replace(headway.public_url, headway.url))
    job = outcome(tab)["job"]
    assert (job["status"], len(job["result"])) == ("completed", 20_000)
    # Without a cookie: the page has no session, and needs none.
    assert tab.page.context.cookies() == []


def test_without_a_ticket_a_page_on_another_origin_gets_a_401(tab: Tab, headway: KeyedServer, site: OtherSite) -> None:
    tab.expected.append(UNAUTHORIZED)
    job_id = headway.submit("steady", {"steps": 10_000})
    watch(tab, site, headway, f"{headway.url}/jobs/{job_id}")
    told = outcome(tab)
    assert (told["error"], told["status"]) == ("Problem", 401)


def test_a_page_on_another_origin_gets_its_first_ticket_before_its_first_request(
    tab: Tab, headway: KeyedServer, site: OtherSite
) -> None:
    job_id = headway.submit("steady", {"steps": 30})
    site.about(headway, job_id)
    site.lasts_s = [300]
    watch(tab, site, headway, f"{headway.url}/jobs/{job_id}", "getTicket,")
    # There was no 401: the console would have logged it.
    assert outcome(tab)["job"]["result"] == {"steps": 30}


def test_a_page_on_another_origin_gets_a_new_ticket_when_its_own_has_expired_and_continues_the_stream(
    tab: Tab, headway: KeyedServer, site: OtherSite
) -> None:
    tab.expected += [UNAUTHORIZED, "net::ERR"]
    job_id = headway.submit("careful", {"steps": 10_000, "pause_s": 0.05})
    site.about(headway, job_id)
    site.lasts_s = [10, 300]
    streams: list[str] = []
    polls: list[str] = []

    def note(response: Any) -> None:
        path = response.url.partition("?")[0]
        if path.startswith(headway.url):
            (streams if path.endswith("/progress") else polls).append(str(response.status))

    tab.page.on("response", note)
    watch(tab, site, headway, f"{headway.url}/jobs/{job_id}", "getTicket,")
    tab.page.wait_for_function("window.states.includes('running')")
    with_ticket = f"/jobs/{job_id}?ticket={site.tickets[0]}"
    nobody = {"Authorization": "Basic eDp5"}  # a scheme that says nothing here, in place of the test's own key
    eventually(lambda: headway.request("GET", with_ticket, headers=nobody).status == int(UNAUTHORIZED))
    assert streams == ["200"]  # it stays open: only who comes anew is looked at
    polls.clear()

    headway.kill()
    headway.restart()
    tab.page.wait_for_event("response", lambda response: "/progress" in response.url and response.ok)
    # The stream is retried as soon as there is a ticket, whether it or a poll was rejected first.
    assert polls in ([], [UNAUTHORIZED, "202"])
    assert len(site.tickets) == 2
    seen = tab.page.evaluate("window.states.length")
    tab.page.wait_for_function("(seen) => window.states.length > seen", arg=seen)
    headway.request("DELETE", f"/jobs/{job_id}")
    assert outcome(tab)["job"]["status"] == "cancelled"


def test_if_no_new_ticket_can_be_obtained_waiting_rejects_with_the_reason(
    tab: Tab, headway: KeyedServer, site: OtherSite
) -> None:
    tab.expected += [UNAUTHORIZED, "404", "net::ERR"]
    job_id = headway.submit("careful", {"steps": 10_000, "pause_s": 0.05})
    site.about(headway, job_id)
    rejects = "getTicket: async () => { throw new RangeError('not for you'); },"
    watch(tab, site, headway, f"{headway.url}/jobs/{job_id}", rejects)
    assert outcome(tab) == {"error": "Problem", "status": 401, "cause": "RangeError: not for you"}


def test_revoking_a_key_revokes_its_tickets(tab: Tab, headway: KeyedServer, site: OtherSite) -> None:
    tab.expected += [UNAUTHORIZED, "net::ERR"]
    key = headway.make_key("backend")
    job_id = headway.submit_with(key, "steady", {"steps": 100_000})
    made = headway.request("POST", f"/jobs/{job_id}/tickets", {}, {"Authorization": f"Bearer {key}"}).json
    watch(tab, site, headway, f"{headway.url}/jobs/{job_id}?ticket={made['ticket']}")
    tab.page.wait_for_function("window.states.includes('running')")
    headway.revoke("backend")
    assert outcome(tab)["status"] == 401
    expect(tab.page.locator("progress")).to_be_visible()


def test_a_page_on_another_origin_shows_a_badge_with_a_ticket_alone(
    tab: Tab, headway: KeyedServer, site: OtherSite
) -> None:
    job_id = headway.submit("steady", {"steps": 10_000})
    site.about(headway, job_id)
    site.lasts_s = [300]
    url = f"{headway.url}/jobs/{job_id}/badge.svg"
    site.html = f"""<!doctype html><title>Theirs</title><link rel="icon" href="data:,">
    <img id="with" src="{url}?ticket={site.ticket()["ticket"]}"><img id="without" src="{url}">"""
    tab.expected.append("NotSameOrigin")  # the 401
    tab.page.goto(site.url, wait_until="load")
    widths = tab.page.evaluate("[...document.images].map((image) => image.naturalWidth)")
    assert widths[0] > 50
    assert widths[1] == 0
