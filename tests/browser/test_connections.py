"""Lost and rejected streams, restarts, lost networks, and pages of other sites."""

import json
import signal
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, Request, Response, expect

from tests.browser.tab import WATCH_PAGE, PageServer, Tab
from tests.support.process import WAIT_TIMEOUT_S, eventually

NETWORK = "Failed to load resource"

README_PAGE = """<!doctype html><title>Theirs</title><progress id="bar" max="100"></progress><script>
const bar = document.getElementById('bar');
window.values = [];
const s = new EventSource('/jobs/ID/progress');
s.onmessage = e => {
  const {status, progress} = JSON.parse(e.data);
  bar.value = progress; window.values.push(progress); if (status === 'completed') CLOSE;
};
window.source = s;
</script>"""


def closed(page: Page) -> bool:
    return bool(page.evaluate("window.source.readyState === EventSource.CLOSED"))


def test_a_page_of_another_site_follows_a_job_with_four_lines(tab: Tab, server: PageServer) -> None:
    job_id = server.submit("steady", {"steps": 50})
    tab.serve("/other-site", README_PAGE.replace("ID", job_id).replace("CLOSE", "s.close()"))
    tab.page.goto(server.url + "/other-site")
    expect(tab.page.locator("progress")).to_have_attribute("value", "100")
    values = [value for value in tab.page.evaluate("window.values") if value is not None]
    assert values == sorted(values)
    assert len(set(values)) > 3
    assert closed(tab.page)


def test_a_page_that_does_not_close_its_stream_reconnects_once_and_is_stopped_by_a_204(
    tab: Tab, server: PageServer
) -> None:
    answers: list[int] = []

    def note(response: Response) -> None:
        if response.url.endswith("/progress"):
            answers.append(response.status)

    tab.page.on("response", note)
    job_id = server.submit("steady", {"steps": 5})
    tab.serve("/other-site", README_PAGE.replace("ID", job_id).replace("CLOSE", "0"))
    tab.page.goto(server.url + "/other-site")
    # Closed is final: EventSource does not reconnect.
    eventually(lambda: closed(tab.page))
    assert answers == [200, 204]


@pytest.mark.parametrize("link", ["statusUrl", "progressUrl"])
def test_waiting_in_a_page_of_another_site_resolves_with_input_and_result(
    tab: Tab, server: PageServer, link: str
) -> None:
    job_id = server.submit("steady", {"steps": 20})
    url = server.job(job_id)[link]
    tab.serve("/other-site", WATCH_PAGE.replace("URL_OF_JOB", json.dumps(url)))
    tab.page.goto(server.url + "/other-site")
    job = tab.page.evaluate("window.watched")["job"]
    assert (job["status"], job["result"]) == ("completed", {"steps": 20})
    assert job["input"]["steps"] == 20
    states = tab.page.evaluate("window.states")
    assert [version for version, _ in states] == sorted({version for version, _ in states})
    assert states[-1][1] == "completed"


def test_a_result_that_is_too_large_to_be_part_of_the_job_is_fetched(tab: Tab, server: PageServer) -> None:
    job_id = server.submit("bulk", {"items": 20_000})
    tab.serve("/other-site", WATCH_PAGE.replace("URL_OF_JOB", json.dumps(f"/jobs/{job_id}")))
    tab.page.goto(server.url + "/other-site")
    assert tab.page.evaluate("window.job.result().then((result) => result.length)") == 20_000
    assert server.job(job_id)["result"] is None


def test_a_job_is_polled_if_streams_are_rejected(tab: Tab, server: PageServer) -> None:
    tab.expected.append(NETWORK)
    tab.page.route("**/progress", lambda route: route.fulfill(status=503, headers={"Retry-After": "1"}))
    job_id = server.submit("steady", {"steps": 20})
    tab.serve("/other-site", WATCH_PAGE.replace("URL_OF_JOB", json.dumps(f"/jobs/{job_id}")))
    tab.page.goto(server.url + "/other-site")
    assert tab.page.evaluate("window.watched")["job"]["result"] == {"steps": 20}


def test_waiting_rejects_for_unknown_deleted_and_abandoned_jobs(tab: Tab, server: PageServer) -> None:
    tab.expected.append(NETWORK)

    def watch(job_id: str) -> Page:
        tab.page.unroute_all()
        tab.serve("/other-site", WATCH_PAGE.replace("URL_OF_JOB", json.dumps(f"/jobs/{job_id}")))
        tab.page.goto(server.url + "/other-site")
        return tab.page

    unknown = watch("0192f0c4-0000-7000-8000-000000000000").evaluate("window.watched")
    assert (unknown["error"], unknown["status"]) == ("Problem", 404)

    abandoned = watch(server.submit("steady", {"steps": 10_000}))
    abandoned.evaluate("window.controller.abort()")
    assert abandoned.evaluate("window.watched")["error"] == "AbortError"

    job_id = server.submit("steady", {"steps": 10_000})
    deleted = watch(job_id)
    eventually(lambda: deleted.evaluate("window.states.length"))
    server.request("DELETE", f"/jobs/{job_id}?purge=true")
    outcome = deleted.evaluate("window.watched")
    # A purged job is cancelled first: a client that sees this state has seen the end, and then gets a 404.
    assert (outcome["error"], outcome["status"]) in [("Problem", 410), ("Problem", 404)]


def test_waiting_rejects_if_the_stream_reports_that_the_job_is_gone(tab: Tab, server: PageServer) -> None:
    job_id = server.submit("steady", {"steps": 10_000})
    gone = f'event: gone\ndata: {{"jobId":"{job_id}"}}\n\n'
    tab.page.route("**/progress", lambda route: route.fulfill(content_type="text/event-stream", body=gone))
    tab.serve("/other-site", WATCH_PAGE.replace("URL_OF_JOB", json.dumps(f"/jobs/{job_id}")))
    tab.page.goto(server.url + "/other-site")
    assert tab.page.evaluate("window.watched") == {"error": "Problem", "status": 410}


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_the_page_survives_a_restart_and_no_bar_moves_back(
    new_tab: Callable[[PageServer], Tab], durable_server: PageServer, how: signal.Signals
) -> None:
    tab = new_tab(durable_server)
    tab.expected += [NETWORK, "net::ERR"]
    page = tab.open()
    job_id = durable_server.submit("steady", {"steps": 60, "pause_s": 0.05})
    row = page.locator(f"[data-job='{job_id}']")
    expect(row.locator("[aria-valuenow]")).to_be_attached()
    connection = page.locator("#connection")
    durable_server.process.send_signal(how)
    durable_server.process.wait(WAIT_TIMEOUT_S)
    expect(connection).to_have_attribute("data-state", "reconnecting")
    durable_server.restart()
    expect(connection).to_have_attribute("data-state", "live")
    expect(row.locator(".badge")).to_have_text("✓Completed")
    shown = tab.shown(job_id)
    assert shown == sorted(shown)  # within an attempt the value only grows
    assert shown[-1][0] == 2


def test_a_page_without_a_stream_polls_and_returns_to_the_stream(tab: Tab, server: PageServer) -> None:
    tab.expected.append(NETWORK)
    reject = [True]

    def answer(route: Any) -> None:
        if reject[0]:
            route.fulfill(status=503, headers={"Retry-After": "1"})
        else:
            route.continue_()

    tab.page.route("**/jobs/progress", answer)
    tab.page.goto(server.url)
    connection = tab.page.locator("#connection")
    expect(connection).to_have_attribute("data-state", "polling")
    expect(connection).to_contain_text("Polling every")
    job_id = server.submit("steady", {"steps": 20})
    expect(tab.page.locator(f"[data-job='{job_id}'] .badge")).to_have_text("✓Completed")
    reject[0] = False
    expect(connection).to_have_attribute("data-state", "live")


def test_a_page_that_goes_offline_shows_it_and_recovers(tab: Tab, server: PageServer) -> None:
    tab.expected.append(NETWORK)
    page = tab.open()
    # The browser sometimes reports that it is offline before its network is.
    page.route("**/*", lambda route: route.abort("internetdisconnected"))
    page.context.set_offline(True)
    expect(page.locator("#connection")).to_have_attribute("data-state", "offline")
    page.unroute_all()
    page.context.set_offline(False)
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")
    job_id = server.submit("steady", {"steps": 2})
    expect(page.locator(f"[data-job='{job_id}'] .badge")).to_have_text("✓Completed")


def test_the_page_has_at_most_two_streams_with_any_number_of_jobs(tab: Tab, server: PageServer) -> None:
    streams: set[Request] = set()

    def opened(request: Request) -> None:
        if "/progress" in request.url:
            streams.add(request)

    def ended(request: Request) -> None:
        streams.discard(request)

    tab.page.on("request", opened)
    tab.page.on("requestfinished", ended)
    tab.page.on("requestfailed", ended)
    page = tab.open()
    jobs = [server.submit("steady", {"steps": 10_000}) for _ in range(6)]
    for job_id in jobs:
        page.locator(f"[data-job='{job_id}'] .job-name").click()
        expect(page.locator("#fact-id-value")).to_have_text(job_id)
        expect(page.locator("#log-connection")).to_have_text("live")
        assert len(streams) == 2
        page.get_by_role("link", name="All jobs").click()
