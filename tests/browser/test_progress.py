"""What a person sees of a running job: the bar, its figures, the end, the files."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

if TYPE_CHECKING:
    from pathlib import Path

    from tests.browser.conftest import Server, Tab

ROWS = 300_000
HOSTILE = "<img src=x onerror=\"document.title='broken into'\">"


@pytest.fixture(scope="module")
def large_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wide enough to take a few seconds: twenty different values need two at ten ticks a second."""
    path: Path = tmp_path_factory.mktemp("csv") / "sales.csv"
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerows(
        [f"2026-{i % 12 + 1:02}-{i % 28 + 1:02}", "Kettle", *(f"{(i + 1) * column}.5" for column in range(56))]
        for i in range(1000)
    )
    header = ",".join(["date", "product", *(f"measure_{column}" for column in range(56))])
    path.write_text(f"{header}\r\n" + text.getvalue() * (ROWS // 1000))
    return path


def test_a_report_on_300_000_rows_moves_smoothly_shows_only_what_was_sent_and_counts_right(
    tab: Tab, server: Server, large_csv: Path
) -> None:
    page = tab.open()
    tab.choose("Report on a CSV file")
    page.get_by_label("CSV file", exact=True).set_input_files(large_csv)
    page.get_by_label("Label").fill("Sales")
    with server.recorded() as sent:
        page.evaluate("window.countFrames()")
        page.get_by_role("button", name="Start job").click()
        row = page.locator(".job", has_text="Sales")
        expect(row.locator(".badge")).to_have_text("✓Completed", timeout=60_000)
        worst_ms = page.evaluate("Math.max(...window.gaps)")
    job_id = row.get_attribute("data-job") or ""

    shown = [value for _, value in tab.shown(job_id)]
    assert len(set(shown)) >= 20
    assert shown == sorted(shown)
    assert set(shown) <= {state["progress"] for state in sent if state["jobId"] == job_id}
    assert worst_ms < 100

    with page.expect_download() as download:
        row.get_by_role("link", name="report.html").click()
    report = download.value.path().read_text()
    assert f"{ROWS:,} rows" in re.sub(r"<[^>]+>", "", report)
    assert server.job(job_id)["result"]["rows"] == ROWS


def test_a_cancel_is_answered_within_half_a_second_while_eight_jobs_run(tab: Tab, server: Server) -> None:
    page = tab.open()
    jobs = [server.submit("steady", {"steps": 10_000}, f"?label=job-{n}") for n in range(8)]
    expect(page.locator(".job[data-status=running], .job[data-status=queued]")).to_have_count(8)
    row = page.locator(f".job[data-job='{jobs[0]}']")
    expect(row).to_have_attribute("data-status", "running")
    # The row's state is the server's word, unlike the button's: that changes at once.
    page.evaluate(
        """(id) => {
          const row = document.querySelector(`[data-job='${id}']`);
          row.addEventListener('click', () => (window.clickedAt = performance.now()), { capture: true });
          new MutationObserver(() => {
            if (row.dataset.status !== 'running') window.answeredAt ??= performance.now();
          }).observe(row, { attributeFilter: ['data-status'] });
        }""",
        jobs[0],
    )
    row.get_by_role("button", name="Cancel job-0").click()
    expect(row.locator(".badge")).to_contain_text("Cancelled")
    assert page.evaluate("window.answeredAt - window.clickedAt") < 500
    assert server.job(jobs[0])["status"] == "cancelled"
    expect(page.locator(".job[data-status=cancelled]")).to_have_count(1)


def test_markup_in_a_message_or_a_label_stays_text(tab: Tab, server: Server) -> None:
    page = tab.open()
    tab.choose("Go on steadily")
    page.get_by_label("Steps").fill("10000")
    page.get_by_label("Message").fill(HOSTILE)
    page.get_by_label("Label").fill(HOSTILE)
    page.get_by_role("button", name="Start job").click()
    row = page.locator(".job", has_text=HOSTILE)
    expect(row.locator(".job-name")).to_have_text(HOSTILE)
    expect(row.locator(".job-activity")).to_have_text(HOSTILE)
    row.locator(".job-name").click()
    expect(page.locator("#detail-title")).to_have_text(HOSTILE)
    expect(page.locator("#detail-activity")).to_have_text(HOSTILE)
    expect(page.locator("#detail-input")).to_contain_text("onerror")
    assert page.locator("img").count() == 0
    assert "onerror" in page.title()


def test_a_failed_job_says_why_and_can_be_run_again(tab: Tab, server: Server) -> None:
    page = tab.open()
    job_id = server.submit("doomed", {"pause_s": 0})
    page.locator(f"[data-job='{job_id}'] .job-name").click()
    expect(page.locator("#detail-error-title")).to_have_text("No pictures")
    expect(page.locator("#detail-error-text")).to_have_text("<img src=x onerror=alert(1)>")
    page.get_by_role("button", name="Run again Fail").click()
    expect(page).not_to_have_url(re.compile(job_id))
    expect(page.locator("#fact-retry-of-link")).to_have_attribute("href", f"#/jobs/{job_id}")
    expect(page.locator("#detail-error-title")).to_have_text("No pictures")


def test_a_deletion_asks_first_and_then_takes_the_job_away(tab: Tab, server: Server) -> None:
    page = tab.open()
    job_id = server.submit("steady", {"steps": 1}, "?label=short")
    row = page.locator(f"[data-job='{job_id}']")
    page_delete = row.get_by_role("button", name="Delete short")
    page_delete.dblclick()
    expect(row.get_by_role("button", name="Keep")).to_be_hidden()
    page_delete.click()
    expect(row.get_by_role("button", name="Keep")).to_be_focused()
    row.locator(".danger").click()
    expect(row).to_have_count(0)
    assert job_id not in [job["jobId"] for job in server.call("GET", "/jobs")["jobs"]]


def test_a_job_deleted_elsewhere_leaves_the_list_and_its_own_view(tab: Tab, server: Server) -> None:
    tab.expected.append("404")  # the view may ask for the result of a job that is gone
    page = tab.open()
    job_id = server.submit("steady", {"steps": 10_000})
    page.locator(f"[data-job='{job_id}'] .job-name").click()
    expect(page.locator("#detail-badge")).to_have_text("▸Running")
    server.call("DELETE", f"/jobs/{job_id}?purge=true")
    expect(page.locator("#detail-title")).to_have_text("This job was deleted.")
    page.get_by_role("link", name="All jobs").click()
    expect(page.locator(f"[data-job='{job_id}']")).to_have_count(0)


def test_a_unknown_job_is_said_to_be_unknown(tab: Tab) -> None:
    tab.expected.append("404")
    page = tab.open("/#/jobs/0192f0c4-0000-7000-8000-000000000000")
    expect(page.locator("#detail-title")).to_have_text("There is no such job.")


def test_older_jobs_come_page_by_page(tab: Tab, server: Server) -> None:
    jobs = [server.submit("steady", {"steps": 1, "pause_s": 0}) for _ in range(70)]
    server.finished(jobs[-1])
    page = tab.open()
    newest, oldest = page.locator(f"[data-job='{jobs[-1]}']"), page.locator(f"[data-job='{jobs[0]}']")
    expect(newest).to_be_visible()
    for _ in range(2):
        page.get_by_role("button", name="Show older").click()
    expect(oldest).to_be_attached()
    ids = page.eval_on_selector_all(".job", "(rows) => rows.map((row) => row.dataset.job)")
    assert ids == sorted(ids, reverse=True)
