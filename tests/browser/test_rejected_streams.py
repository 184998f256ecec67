"""A server that serves no more streams (429): the page and the client poll, and return to the stream later."""

import itertools
import json
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Request, expect

from tests.browser.conftest import JOBS
from tests.browser.tab import WATCH_PAGE, PageServer, Tab
from tests.support.raw import RawStream

REFUSED = "429"


@pytest.fixture
def full_server() -> Iterator[PageServer]:
    """A server that allows one stream."""
    with PageServer(":memory:", "--jobs", str(JOBS), env={"HEADWAY_MAX_STREAMS": "1"}) as server:
        yield server


def test_a_page_whose_stream_is_rejected_polls_and_returns_to_the_stream_when_there_is_room(
    full_server: PageServer, new_tab: Callable[[PageServer], Tab]
) -> None:
    tab = new_tab(full_server)
    tab.expected.append(REFUSED)
    connection = tab.page.locator("#connection")
    with RawStream(full_server, "/jobs/progress"):
        tab.page.goto(full_server.url)
        expect(connection).to_have_attribute("data-state", "polling")
        expect(connection).to_contain_text("Polling every 2 s")
        job_id = full_server.submit("steady", {"steps": 60, "pause_s": 0.05})
        row = tab.page.locator(f"[data-job='{job_id}']")
        expect(row.locator("[aria-valuenow]")).to_be_attached()
        expect(row.locator(".badge")).to_have_text("✓Completed")
    shown = tab.shown(job_id)
    assert len(shown) > 1
    assert shown == sorted(shown)
    # Attempts are further and further apart; on a busy machine the first came too early.
    expect(connection).to_have_attribute("data-state", "live", timeout=60_000)


def test_a_jobs_view_polls_for_its_log_too(full_server: PageServer, new_tab: Callable[[PageServer], Tab]) -> None:
    tab = new_tab(full_server)
    tab.expected.append(REFUSED)
    job_id = full_server.submit("mutters")
    page = tab.open()  # the list's stream is the one that there may be
    page.locator(f"[data-job='{job_id}'] .job-name").click()
    expect(page.locator("#log-connection")).to_have_text("polling")
    expect(page.locator("#log")).to_contain_text("line 15")
    full_server.request("DELETE", f"/jobs/{job_id}")
    expect(page.locator("#detail-badge")).to_contain_text("Cancelled")


def test_the_client_polls_with_an_etag_and_according_to_retry_after(
    full_server: PageServer, new_tab: Callable[[PageServer], Tab]
) -> None:
    tab = new_tab(full_server)
    tab.expected.append(REFUSED)
    job_id = full_server.submit("lingers")  # reports once, and then nothing more
    polls: list[Request] = []

    def answered(request: Request) -> None:
        if request.url.endswith(f"/jobs/{job_id}"):
            polls.append(request)

    tab.page.on("requestfinished", answered)
    with RawStream(full_server, "/jobs/progress"):
        tab.serve("/other-site", WATCH_PAGE.replace("URL_OF_JOB", json.dumps(f"/jobs/{job_id}")))
        tab.page.goto(full_server.url + "/other-site")
        while len(polls) < 4:
            tab.page.wait_for_event("requestfinished")
        full_server.request("DELETE", f"/jobs/{job_id}")
        assert tab.page.evaluate("window.watched")["job"]["status"] == "cancelled"
    first, *later = polls[:4]
    assert "if-none-match" not in first.headers
    for before, after in itertools.pairwise(polls[:4]):
        answer = before.response()
        assert answer is not None
        assert after.headers["if-none-match"] == answer.headers["etag"]
        waited_ms = after.timing["startTime"] - before.timing["startTime"]
        assert waited_ms >= int(answer.headers["retry-after"]) * 1000 - 50
    statuses = [answer.status for poll in later if (answer := poll.response())]
    assert statuses == [304] * 3
