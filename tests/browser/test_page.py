"""The page itself: forms, keyboard, small screens, URLs, the log."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Route, expect

from tests.browser.tab import MAX_TASKS, PageServer, Tab, scrolls_sideways
from tests.support.process import eventually

"""Gives states to the page, as if its stream had sent them."""
MOST_ROWS_A_PAINT = 25
"""More rows in one paint delay a frame noticeably; `python -m tests.benchmarks page` measures how long it takes."""


def test_a_job_can_be_started_and_viewed_with_the_keyboard_alone(tab: Tab) -> None:
    page = tab.open()
    keys = page.keyboard
    expect(page.get_by_role("radio").first).to_be_visible()

    def tab_to(name: str) -> None:
        for _ in range(40):
            keys.press("Tab")
            if re.search(
                name,
                page.evaluate("document.activeElement.labels?.[0]?.textContent ?? document.activeElement.textContent"),
            ):
                return
        raise AssertionError(f"{name} cannot be reached with Tab")

    tab_to("CSV file")
    while not page.get_by_role("radio", name="Go on steadily").is_checked():
        keys.press("ArrowDown")
    tab_to("^Steps")
    keys.press("Control+A")
    keys.type("3")
    tab_to("^Label")
    keys.type("by keyboard")
    keys.press("Enter")
    expect(page.locator(".job", has_text="by keyboard")).to_be_visible()
    tab_to("^by keyboard")  # the note under the form
    keys.press("Enter")
    expect(page.locator("#detail-title")).to_have_text("by keyboard")
    expect(page.locator("#detail-title")).to_be_focused()
    expect(page.locator("#detail-badge")).to_have_text("✓Completed")


def test_the_focus_stays_on_its_row_while_rows_are_added_and_moved(tab: Tab, server: PageServer) -> None:
    page = tab.open()
    first = server.submit("steady", {"steps": 10_000}, "?label=first")
    link = page.locator(f"[data-job='{first}'] .job-name")
    link.focus()
    for _ in range(3):
        other = server.submit("steady", {"steps": 1})
        expect(page.locator(f"[data-job='{other}'] .badge")).to_have_text("✓Completed")
        expect(link).to_be_focused()
    page.locator("[data-filter=active]").click()
    cancel = page.get_by_role("button", name="Cancel first")
    cancel.focus()
    cancel.press("Enter")
    expect(page.locator(f"[data-job='{first}']")).to_have_count(0)
    # Its row was filtered out: the focus is still in the list, or on its heading.
    assert page.evaluate("document.activeElement.closest('.jobs') !== null")


def test_the_focus_stays_on_a_row_that_is_moved(tab: Tab, server: PageServer) -> None:
    page = tab.open()
    page.locator("[data-filter=active]").click()
    base = {**server.job(server.submit("steady", {"steps": 1})), "label": None}
    for place in (1, 2, 3):
        queued = {"jobId": f"made-up-{place}", "status": "queued", "queuePosition": place, "version": 1}
        tab.accept(base | queued)
    last = page.locator("[data-job=made-up-3]")
    last.locator(".job-name").focus()
    tab.accept(base | {"jobId": "made-up-3", "status": "running", "queuePosition": None, "version": 2})
    expect(page.locator(".job").first).to_have_attribute("data-job", "made-up-3")
    expect(last.locator(".job-name")).to_be_focused()


def test_errors_of_the_page_and_the_server_are_shown_at_their_fields(tab: Tab, server: PageServer) -> None:
    tab.expected.append("422")
    page = tab.open()
    tab.choose("Fill in a form")
    page.get_by_role("button", name="Start job").click()
    errors = page.locator(".field-error:visible")
    expect(errors).to_have_count(2)  # found here: city and width are missing
    expect(page.get_by_role("textbox", name="City")).to_be_focused()
    expect(page.get_by_role("textbox", name="City")).to_have_attribute("aria-invalid", "true")

    page.get_by_role("button", name="Fill in a sample").click()
    expect(page.get_by_role("textbox", name="City")).to_have_value("Lisbon")
    page.get_by_label("Tags").fill('[1, "two"]')
    page.get_by_role("button", name="Start job").click()
    expect(errors).to_have_count(1)  # found by the server, within an item
    expect(page.locator("[data-pointer='/tags'] .field-error")).to_contain_text("item 2: ")
    expect(page.get_by_label("Tags")).to_be_focused()

    page.get_by_label("Tags").fill("[1, 2]")
    expect(errors).to_have_count(0)
    page.get_by_role("button", name="Start job").click()
    job_id = page.locator(".job").first.get_attribute("data-job") or ""
    expect(page.locator(".job .badge").first).to_have_text("✓Completed")
    # Empty fields are omitted.
    assert server.job(job_id)["input"] == {"city": "Lisbon", "colour": "red", "size": {"width": 1}, "tags": [1, 2]}


@pytest.mark.parametrize("title", ["Sales report", "Add a todo", "Ping"])
def test_a_type_with_a_sample_runs_from_its_form(tab: Tab, title: str) -> None:
    page = tab.open()
    tab.choose(title)
    page.get_by_role("button", name="Fill in a sample").click()
    page.get_by_role("button", name="Start job").click()
    row = page.locator(".job").first
    expect(row.locator(".job-name")).to_have_text(title)
    expect(row.locator(".badge")).to_have_text("✓Completed")
    row.locator(".job-name").click()
    expect(page.locator("#detail-result")).to_have_text(re.compile(r"Sales from 2026-01-01|Buy milk|pong"))


def test_a_reload_and_the_back_button_restore_the_view_of_a_job(tab: Tab, server: PageServer) -> None:
    page = tab.open()
    job_id = server.submit("steady", {"steps": 3, "log_lines": 2}, "?label=mine")
    page.locator(f"[data-job='{job_id}'] .job-name").click()
    for _ in range(2):
        expect(page.locator("#detail-title")).to_have_text("mine")
        expect(page.locator("#log-lines li")).to_have_count(2)
        expect(page.locator("#detail-result")).to_have_text(re.compile('"steps": 3'))
        page.reload()
    page.go_back()
    expect(page.locator("#jobs-title")).to_be_visible()
    page.go_forward()
    expect(page.locator("#detail-title")).to_have_text("mine")


def test_the_log_follows_the_end_stops_when_scrolled_and_loads_earlier_lines(tab: Tab, server: PageServer) -> None:
    page = tab.open()
    job_id = server.submit("steady", {"steps": 10_000, "log_lines": 450})
    page.locator(f"[data-job='{job_id}'] .job-name").click()
    lines = page.locator("#log-lines li")
    expect(lines.last).to_contain_text("line 450 of 450")
    expect(lines.last).to_be_in_viewport()
    page.reload()
    expect(lines).to_have_count(200)
    for count in (400, 450):
        page.get_by_role("button", name="Show earlier lines").click()
        expect(lines).to_have_count(count)
    expect(lines.first).to_contain_text("line 1 of 450")
    expect(page.get_by_role("button", name="Show earlier lines")).to_be_hidden()
    texts = lines.all_text_contents()
    assert [int(text.split("line ")[1].split()[0]) for text in texts] == list(range(1, 451))
    page.locator("#log").evaluate("(log) => { log.scrollTop = 0; }")
    expect(page.get_by_role("button", name="Follow the log")).to_be_visible()


def test_nothing_scrolls_sideways_at_360_pixels(tab: Tab, server: PageServer) -> None:
    tab.page.set_viewport_size({"width": 360, "height": 740})
    page = tab.open()
    job_id = server.submit("steady", {"steps": 10_000, "message": "x" * 300, "log_lines": 5}, f"?label={'y' * 190}")
    expect(page.locator(f"[data-job='{job_id}'] [aria-valuenow]")).to_be_attached()
    for radio in page.get_by_role("radio").all():
        if radio.is_enabled():
            radio.check()
            assert not scrolls_sideways(page)
    page.locator(f"[data-job='{job_id}'] .job-name").click()
    expect(page.locator("#log-lines li")).to_have_count(5)
    assert not scrolls_sideways(page)


def test_a_sample_can_be_started_with_two_clicks(tab: Tab) -> None:
    page = tab.open()
    tab.choose("Report on a CSV file")
    page.get_by_role("button", name="Fill in a sample").click()
    expect(page.get_by_text("Ready: sample-sales.csv")).to_be_visible()
    page.get_by_role("button", name="Start job").click()
    row = page.locator(".job").first
    expect(row.locator(".badge")).to_have_text("✓Completed")
    expect(row).to_contain_text("50,000 rows")


def test_an_upload_can_be_cancelled(tab: Tab, server: PageServer, tmp_path: Path) -> None:
    page = tab.open()
    tab.choose("Report on a CSV file")
    big = tmp_path / "big.csv"
    big.write_bytes(b"a,b\n" * 5_000_000)  # more than kernels hold
    page.get_by_label("CSV file", exact=True).set_input_files(big)
    with server.held():
        page.get_by_role("button", name="Start job").click()
        expect(page.get_by_text(re.compile(r"Uploading: [\d.]+ [kM]?B of 20 MB"))).to_be_visible()
        page.get_by_role("button", name="Cancel upload").click()
        expect(page.get_by_text("The upload was cancelled")).to_be_visible()
    after = server.submit("steady")
    server.wait_for(after)
    assert [job["jobId"] for job in server.request("GET", "/jobs").json["jobs"]] == [after]


def test_a_cancelled_upload_is_repeated_with_the_same_idempotency_key(tab: Tab, server: PageServer) -> None:
    # It may have been received nevertheless, and must not become a second job.
    keys: list[str] = []
    page = tab.open()
    page.on(
        "request", lambda request: keys.extend(value for value in [request.headers.get("idempotency-key")] if value)
    )
    tab.choose("Report on a CSV file")
    page.get_by_label("CSV file", exact=True).set_input_files(
        {
            "name": "small.csv",
            "mimeType": "text/csv",
            "buffer": b"a,b\n1,2\n",
        }
    )
    start = page.get_by_role("button", name="Start job")
    with server.held():
        start.click()
        expect(page.get_by_text("Uploaded; the server is processing it")).to_be_visible()
        page.get_by_role("button", name="Cancel upload").click()
        expect(page.get_by_text("If it had already been received in full, its job is in the list")).to_be_visible()
    start.click()
    expect(page.get_by_text("Started: View the job")).to_be_visible()
    start.click()
    eventually(lambda: len(keys) == 3)
    assert keys[0] == keys[1] != keys[2]


def test_the_start_and_the_end_of_a_job_are_announced_but_not_its_ticks(tab: Tab, server: PageServer) -> None:
    blockers = [server.submit("steady", {"steps": 10_000}) for _ in range(MAX_TASKS)]
    for blocker in blockers:
        server.wait_for(blocker, "running")
    page = tab.open()
    page.evaluate(
        """() => {
          window.announced = [];
          const region = document.getElementById('announcer');
          new MutationObserver(() => window.announced.push(region.textContent)).observe(region, { childList: true });
        }"""
    )

    def announced() -> list[str]:
        # News within a second are announced together, so others may be included.
        texts = page.evaluate("window.announced")
        return [news for text in texts for news in text.split(". ") if news.startswith("long")]

    # Only changes are announced, so the page must have seen the job queued before it starts.
    long = server.submit("steady", {"steps": 10_000}, "?label=long")
    expect(page.locator(f"[data-job='{long}']")).to_have_attribute("data-status", "queued")
    server.request("DELETE", f"/jobs/{blockers[0]}")
    eventually(lambda: announced() == ["long started"])
    ticks = len(tab.shown(long))
    eventually(lambda: len(tab.shown(long)) > ticks)
    server.request("DELETE", f"/jobs/{long}")
    eventually(lambda: len(announced()) > 1)
    assert announced() == ["long started", "long cancelled"]


def test_a_type_that_is_unavailable_shows_why_and_cannot_be_selected(tab: Tab) -> None:
    page = tab.open()
    choice = page.locator("[data-type=moonlit]")
    expect(choice).to_contain_text("Not available: The moon is not full.")
    expect(choice.get_by_role("radio")).to_be_disabled()


def test_a_full_queue_is_explained_with_the_time_to_wait(tab: Tab) -> None:
    tab.expected.append("503")
    page = tab.open()
    tab.choose("Go on steadily")
    problem = {"type": "/problems/queue-full", "title": "The queue is full", "status": 503, "detail": "9 jobs wait"}
    page.route(
        "**/jobs/steady",
        lambda route: route.fulfill(
            status=503, json=problem, content_type="application/problem+json", headers={"Retry-After": "7"}
        ),
    )
    page.get_by_role("button", name="Start job").click()
    expect(page.get_by_role("alert")).to_have_text("The queue is full: 9 jobs wait. Try again in 7 s.")


def test_a_submission_without_a_response_is_repeated_with_the_same_idempotency_key(tab: Tab) -> None:
    tab.expected.append("Failed to load resource")
    keys: list[str] = []

    def break_off(route: Route) -> None:
        keys.append(route.request.headers["idempotency-key"])
        route.abort()

    page = tab.open()
    tab.choose("Go on steadily")
    page.route("**/jobs/steady", break_off)
    start = page.get_by_role("button", name="Start job")
    start.click()
    expect(page.get_by_role("alert")).to_contain_text("The server did not respond")
    start.click()
    expect(start).to_have_text("Start job")
    page.get_by_label("Steps").fill("11")
    start.click()
    eventually(lambda: len(keys) == 3)
    assert keys[0] == keys[1] != keys[2]


def test_a_job_between_two_attempts_shows_when_the_next_one_starts(tab: Tab, server: PageServer) -> None:
    def between() -> Any:
        for state in server.states(server.submit("stumbles")):
            if (state["status"], state["attempt"]) == ("queued", 1):
                return state
        return None

    page = tab.open()
    # The server adds jitter to the delay. A very short one is not shown, and the page needs some time.
    state = eventually(between)
    later = (datetime.now(UTC) + timedelta(minutes=50)).strftime("%Y-%m-%dT%H:%M:%SZ")
    tab.accept(state | {"jobId": "made-up", "runAt": later})
    row = page.locator("[data-job='made-up']")
    expect(row.locator(".job-line")).to_have_text(re.compile("attempt 2 of 2 in (50|49) min"))
    expect(page.locator(f"[data-job='{state['jobId']}'] .badge")).to_have_text("✓Completed")


def test_two_hundred_rows_are_created_over_several_paints_and_stay_where_they_are_while_they_move(
    tab: Tab, server: PageServer
) -> None:
    page = tab.open()
    finished = server.wait_for(server.submit("steady", {"steps": 1}))
    expect(page.locator(f"[data-job='{finished['jobId']}'] .badge")).to_have_text("✓Completed")
    running = finished | {"status": "running", "progress": 0, "result": None, "completedAt": None}
    jobs = [running | {"jobId": f"made-up-{n}"} for n in range(200)]
    # The records of one paint arrive together, because a paint is one task.
    page.evaluate(
        """() => {
          window.paints = [];
          const list = document.getElementById('job-list');
          new MutationObserver((records) => {
            const rows = records.flatMap((record) => [...record.addedNodes, ...record.removedNodes]);
            window.paints.push(rows.length);
          }).observe(list, { childList: true });
        }"""
    )
    tab.accept(*jobs)
    expect(page.locator(".job[data-status=running]")).to_have_count(200)
    assert max(page.evaluate("window.paints.splice(0)")) <= MOST_ROWS_A_PAINT
    for progress in (25.0, 50.0):
        tab.accept(*(job | {"version": job["version"] + progress, "progress": progress} for job in jobs))
        expect(page.locator(f".job [aria-valuenow='{progress:g}']")).to_have_count(200)
    assert page.evaluate("window.paints") == []
