"""The webhooks of a job in its view: deliveries to a real receiver, their states, and sending one again."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, Request, expect

from tests.browser.conftest import JOBS
from tests.browser.keyed import KeyedServer
from tests.browser.tab import PageServer, Tab, scrolls_sideways
from tests.support.receiver import Receiver, answering

HOOK = "/hook"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def module_server() -> Iterator[PageServer]:
    with PageServer(":memory:", "--jobs", str(JOBS), env={"HEADWAY_WEBHOOK_ALLOW": "127.0.0.1"}) as server:
        yield server


@pytest.fixture
def tab(server: PageServer, new_tab: Callable[[PageServer], Tab]) -> Tab:
    return new_tab(server)


def open_job(tab: Tab, job_id: str) -> Page:
    page = tab.open(f"/#/jobs/{job_id}")
    expect(page.locator("#deliveries")).to_be_visible()
    return page


def delivery(page: Page, event: str) -> Locator:
    return page.locator(".delivery", has_text=event)


def status(page: Page, event: str) -> Locator:
    return delivery(page, event).locator(".badge")


def test_the_deliveries_of_a_webhook_entered_in_the_form_are_shown(tab: Tab, receiver: Receiver) -> None:
    page = tab.open()
    tab.choose("Go on steadily")
    page.get_by_text("More options").click()
    page.get_by_label("Webhook URL").fill(receiver.url("/hook?team=a"))
    page.get_by_role("button", name="Start job").click()
    page.get_by_role("link", name="View the job").click()
    for event in ("job.started", "job.completed"):
        receiver.wait_for(1, event=event)
        expect(status(page, event)).to_have_text("✓Delivered")
        expect(delivery(page, event)).to_contain_text(receiver.url("/hook?team=a"))
        expect(delivery(page, event)).to_contain_text(re.compile(r"answered 204 at \d\d:\d\d:\d\d · 1 attempt"))
    # Newest first.
    expect(page.locator(".delivery .code").first).to_have_text("job.completed")


def test_a_url_that_is_not_allowed_is_rejected_at_its_field(tab: Tab) -> None:
    tab.expected.append("422")
    page = tab.open()
    tab.choose("Go on steadily")
    page.get_by_text("More options").click()
    field = page.get_by_label("Webhook URL")
    field.fill("http://10.0.0.1/hook")
    page.get_by_text("More options").click()
    expect(field).to_be_hidden()
    page.get_by_role("button", name="Start job").click()
    expect(field).to_be_focused()  # it is unfolded
    expect(page.locator("[data-pointer='/webhookUrl'] .field-error")).to_be_visible()


def test_a_job_without_a_webhook_shows_no_deliveries(tab: Tab, server: PageServer) -> None:
    job_id = server.submit("steady", {"steps": 1})
    server.wait_for(job_id)
    page = tab.page
    with page.expect_response(f"**/jobs/{job_id}/deliveries"):
        tab.open(f"/#/jobs/{job_id}")
    expect(page.locator("#detail-badge")).to_have_text("✓Completed")
    expect(page.locator("#detail-deliveries-part")).to_be_hidden()


def test_a_delivered_webhook_can_be_sent_again(tab: Tab, server: PageServer, receiver: Receiver) -> None:
    job_id = server.submit("steady", {"steps": 1}, f"?webhookUrl={receiver.url()}")
    first = receiver.wait_for(1, event="job.completed")[0]
    page = open_job(tab, job_id)
    expect(status(page, "job.completed")).to_have_text("✓Delivered")
    button = page.get_by_role("button", name="Send job.completed again")
    button.focus()
    button.press("Enter")
    again = receiver.wait_for(2, event="job.completed")[1]
    assert (again.id, again.body) == (first.id, first.body)
    expect(delivery(page, "job.completed")).to_contain_text("2 attempts")
    expect(status(page, "job.completed")).to_have_text("✓Delivered")
    expect(button).to_be_focused()
    expect(page.locator("#announcer")).to_contain_text("job.completed: Delivered")
    expect(delivery(page, "job.started")).to_contain_text("1 attempt")


def test_a_pending_delivery_shows_its_error_and_next_attempt_and_can_be_sent_now(
    tab: Tab, server: PageServer, receiver: Receiver
) -> None:
    receiver.behaviours[HOOK] = answering(500, 503, 204, headers={"Retry-After": "3600"})
    job_id = server.submit("doomed", {"pause_s": 0}, f"?webhookUrl={receiver.url()}&webhookEvents=job.failed")
    page = open_job(tab, job_id)
    waiting = delivery(page, "job.failed")
    expect(waiting).to_contain_text("The receiver answered 500.")
    expect(waiting).to_contain_text(re.compile(r"last tried at \S+ · 1 attempt · next at \d\d:\d\d:\d\d"))
    button = page.get_by_role("button", name="Send job.failed now")
    button.click()
    # The receiver sent `Retry-After: 3600`.
    expect(waiting).to_contain_text("The receiver answered 503.")
    expect(waiting).to_contain_text("2 attempts · next at")
    expect(status(page, "job.failed")).to_have_text("○Pending")
    button.click()
    expect(status(page, "job.failed")).to_have_text("✓Delivered")
    expect(waiting).not_to_contain_text("The receiver answered 503.")


def test_a_failed_delivery_is_shown_as_failed(tab: Tab, server: PageServer, receiver: Receiver) -> None:
    receiver.behaviours["/gone"] = answering(410)
    job_id = server.submit("steady", {"steps": 1}, f"?webhookUrl={receiver.url('/gone')}")
    tab.page.set_viewport_size({"width": 360, "height": 740})
    page = open_job(tab, job_id)
    expect(status(page, "job.started")).to_have_text("✕Failed")
    expect(delivery(page, "job.started")).to_contain_text("The receiver answered 410.")
    assert not scrolls_sideways(page)


def test_with_a_read_only_key_deliveries_are_shown_and_the_reason_why_they_cannot_be_sent_again(
    new_tab: Callable[[PageServer], Tab], receiver: Receiver, tmp_path: Path
) -> None:
    with KeyedServer(tmp_path / "data", {"HEADWAY_WEBHOOK_ALLOW": "127.0.0.1"}) as keyed:
        job_id = keyed.submit("steady", {"steps": 1}, f"?webhookUrl={receiver.url()}")
        receiver.wait_for(1, event="job.completed")
        tab = new_tab(keyed)
        tab.expected.append("net::ERR_INCOMPLETE_CHUNKED_ENCODING")  # the server stops before the tab is closed
        tab.page.goto(f"{keyed.url}/#/jobs/{job_id}")
        tab.page.get_by_label("API key").fill(keyed.make_key("wall", "--admin", "--read-only"))
        tab.page.keyboard.press("Enter")
        expect(status(tab.page, "job.completed")).to_have_text("✓Delivered")
        button = tab.page.get_by_role("button", name="Send job.completed again")
        expect(button).to_have_attribute("aria-disabled", "true")
        button.click(force=True)
        expect(tab.page.locator("#deliveries-notice")).to_contain_text("read-only key")
        assert keyed.request("GET", f"/jobs/{job_id}/deliveries").json["deliveries"][0]["attempts"] == 1


def test_deliveries_are_not_polled_without_need(tab: Tab, server: PageServer, receiver: Receiver) -> None:
    asked: list[str] = []

    def note(request: Request) -> None:
        if request.url.endswith("/deliveries"):
            asked.append(request.url)

    receiver.behaviours[HOOK] = answering(503, headers={"Retry-After": "3600"})
    job_id = server.submit("steady", {"steps": 1}, f"?webhookUrl={receiver.url()}")
    receiver.wait_for(2)
    tab.page.clock.install()
    page = open_job(tab, job_id)
    expect(page.locator(".delivery-line", has_text="next at")).to_have_count(2)
    page.on("request", note)
    page.clock.fast_forward(30 * 60 * 1000)
    expect(page.locator("#detail-badge")).to_have_text("✓Completed")
    assert asked == []
