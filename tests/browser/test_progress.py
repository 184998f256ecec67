"""A running job on the page: the bar, its figures, the end, the files."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.tab import PageServer, Tab

ROWS = 120_000
PRIMES = (7, 11, 13, 17, 19, 23)
HOSTILE = "<img src=x onerror=\"document.title='broken into'\">"


@pytest.fixture(scope="module")
def large_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wide enough to take some seconds: twenty different values need two, at ten ticks a second."""
    path: Path = tmp_path_factory.mktemp("csv") / "sales.csv"
    header = "date,order,region,customer," + ",".join(f"measure_{column}" for column in range(len(PRIMES)))
    with path.open("w") as file:
        file.write(f"{header}\n")
        for i in range(ROWS):
            measures = ",".join([f"{i * prime % 99_991}.{i % 97}" for prime in PRIMES])
            file.write(f"2026-{i % 12 + 1:02}-{i % 28 + 1:02},{i},{'NSEW'[i % 4]},customer {i % 50_021},{measures}\n")
    return path


@pytest.mark.slow
def test_the_bar_of_a_long_report_moves_smoothly_and_shows_only_values_that_were_sent(
    tab: Tab, server: PageServer, large_csv: Path
) -> None:
    page = tab.open()
    tab.choose("Report on a CSV file")
    page.get_by_label("CSV file", exact=True).set_input_files(large_csv)
    with server.recorded("csv-report") as sent:
        page.get_by_role("button", name="Start job").click()
        job_id = str(page.get_by_role("link", name="View the job").get_attribute("href")).removeprefix("#/jobs/")
        row = page.locator(f"[data-job='{job_id}']")
        expect(row.locator(".badge")).to_have_text("✓Completed", timeout=240_000)
    shown = [value for _, value in tab.shown(job_id)]
    assert len(set(shown)) >= 20
    assert shown == sorted(shown)
    assert set(shown) <= {state["progress"] for state in sent if state["jobId"] == job_id}

    with page.expect_download() as download:
        row.get_by_role("link", name="report.html").click()
    report = download.value.path().read_text()
    assert f"{ROWS:,} rows" in re.sub(r"<[^>]+>", "", report)
    assert server.job(job_id)["result"]["rows"] == ROWS


def test_a_cancellation_is_shown_while_eight_jobs_run(tab: Tab, server: PageServer) -> None:
    page = tab.open()
    jobs = [server.submit("steady", {"steps": 10_000}, f"?label=job-{n}") for n in range(8)]
    expect(page.locator(".job[data-status=running], .job[data-status=queued]")).to_have_count(8)
    row = page.locator(f".job[data-job='{jobs[0]}']")
    expect(row).to_have_attribute("data-status", "running")
    row.get_by_role("button", name="Cancel job-0").click()
    expect(row.locator(".badge")).to_contain_text("Cancelled")
    assert server.job(jobs[0])["status"] == "cancelled"
    expect(page.locator(".job[data-status=cancelled]")).to_have_count(1)


def test_a_job_that_stops_slowly_is_shown_as_stopping(tab: Tab, server: PageServer) -> None:
    page = tab.open()
    job_id = server.submit("lingers")
    row = page.locator(f"[data-job='{job_id}']")
    expect(row.locator(".job-activity")).to_have_text("lingering")
    row.get_by_role("button", name="Cancel").click()
    expect(row.locator(".badge")).to_have_text("■Stopping")
    expect(row.get_by_role("button", name="Stopping")).to_have_attribute("aria-disabled", "true")
    expect(row.locator(".badge")).to_contain_text("Cancelled")
    expect(row.get_by_role("button", name="Delete")).to_be_visible()


@pytest.mark.parametrize("where", ["list", "detail"])
def test_a_running_job_without_updates_is_marked(tab: Tab, server: PageServer, where: str) -> None:
    tab.page.clock.install()
    page = tab.open()
    job_id = server.submit("lingers")
    row = page.locator(f"[data-job='{job_id}']")
    expect(row.locator(".job-activity")).to_have_text("lingering")
    if where == "detail":
        row.locator(".job-name").click()
    silence = page.locator("#detail-silence") if where == "detail" else row.locator(".job-silence")
    expect(silence).to_be_hidden()
    page.clock.fast_forward(18_000)
    expect(silence).to_have_text(re.compile(r"^no update for (1[89]|[2-5]\d) s$"))


def test_a_cancellation_that_comes_too_late_is_reported(tab: Tab, server: PageServer) -> None:
    tab.expected.append("409")
    page = tab.open()
    job_id = server.submit("steady", {"steps": 10_000})
    row = page.locator(f"[data-job='{job_id}']")
    problem = {"type": "/problems/conflict", "title": "The job's state does not allow this", "status": 409}
    page.route(
        f"**/jobs/{job_id}",
        lambda route: (
            route.fulfill(status=409, json=problem, content_type="application/problem+json")
            if route.request.method == "DELETE"
            else route.continue_()
        ),
    )
    expect(row).to_have_attribute("data-status", "running")  # a change of state would take the message away
    row.get_by_role("button", name="Cancel").click()
    expect(row.get_by_role("status")).to_have_text("Too late: the job has already ended.")


def test_markup_in_a_message_or_a_label_stays_text(tab: Tab, server: PageServer) -> None:
    page = tab.open()
    tab.choose("Go on steadily")
    page.get_by_label("Steps").fill("10000")
    page.get_by_role("textbox", name="Message").fill(HOSTILE)
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


def test_a_failed_job_shows_its_error(tab: Tab, server: PageServer) -> None:
    page = tab.open()
    job_id = server.submit("doomed", {"pause_s": 0})
    page.locator(f"[data-job='{job_id}'] .job-name").click()
    expect(page.locator("#detail-error-title")).to_have_text("No pictures")
    expect(page.locator("#detail-error-text")).to_have_text("<img src=x onerror=alert(1)>")


def test_a_failed_job_can_be_run_again_and_the_new_one_is_shown(tab: Tab, server: PageServer) -> None:
    page = tab.open()
    job_id = server.submit("doomed", {"pause_s": 0})
    page.locator(f"[data-job='{job_id}'] .job-name").click()
    page.get_by_role("button", name="Run again Fail").click()
    expect(page).not_to_have_url(re.compile(job_id))
    expect(page.locator("#fact-retry-of-link")).to_have_attribute("href", f"#/jobs/{job_id}")
    expect(page.locator("#detail-error-title")).to_have_text("No pictures")


@pytest.mark.parametrize("where", ["list", "detail"])
def test_a_job_whose_result_is_a_resource_links_to_it(tab: Tab, server: PageServer, where: str) -> None:
    page = tab.open()
    job_id = server.submit("todo", {"title": "Buy milk"})
    row = page.locator(f"[data-job='{job_id}']")
    link = row.get_by_role("link", name="Open the result")
    if where == "detail":
        row.locator(".job-name").click()
        link = page.get_by_role("link", name=f"/api/todos/{job_id}")
    with page.expect_popup() as popup:
        link.click()
    assert popup.value.url == f"{server.url}/api/todos/{job_id}"
    assert popup.value.evaluate("JSON.parse(document.body.innerText).title") == "Buy milk"


@pytest.mark.parametrize("width", [1280, 320])
def test_a_deletion_is_confirmed_and_then_removes_the_job(tab: Tab, server: PageServer, width: int) -> None:
    tab.page.set_viewport_size({"width": width, "height": 900})
    page = tab.open()
    job_id = server.submit("steady", {"steps": 1}, "?label=short")
    row = page.locator(f"[data-job='{job_id}']")
    delete, keep = row.get_by_role("button", name="Delete short"), row.get_by_role("button", name="Keep")
    delete.dblclick()
    if keep.is_visible():  # where lines break, the second click meets the question
        keep.click()
    expect(delete).to_be_visible()
    assert server.job(job_id)["status"] == "completed"
    delete.click()
    expect(keep).to_be_focused()
    row.locator(".danger").click()
    expect(row).to_have_count(0)
    assert job_id not in [job["jobId"] for job in server.request("GET", "/jobs").json["jobs"]]


def test_a_job_deleted_elsewhere_leaves_the_list_and_its_own_view(tab: Tab, server: PageServer) -> None:
    tab.expected.append("404")  # the view may ask for the result of a job that is gone
    page = tab.open()
    job_id = server.submit("steady", {"steps": 10_000})
    page.locator(f"[data-job='{job_id}'] .job-name").click()
    expect(page.locator("#detail-badge")).to_have_text("▸Running")
    server.request("DELETE", f"/jobs/{job_id}?purge=true")
    expect(page.locator("#detail-title")).to_have_text("This job was deleted.")
    page.get_by_role("link", name="All jobs").click()
    expect(page.locator(f"[data-job='{job_id}']")).to_have_count(0)


def test_an_unknown_job_is_reported_as_not_found(tab: Tab) -> None:
    tab.expected.append("404")
    page = tab.open("/#/jobs/0192f0c4-0000-7000-8000-000000000000")
    expect(page.locator("#detail-title")).to_have_text("Job not found")


def test_older_jobs_are_loaded_page_by_page(tab: Tab, server: PageServer) -> None:
    jobs = [server.submit("steady", {"steps": 1, "pause_s": 0}) for _ in range(70)]
    server.wait_for(jobs[-1])
    # The stream would send them too, for a minute after their end.
    empty = 'retry: 60000\n\nevent: ready\ndata: {"total":0}\n\n'
    tab.page.route("**/jobs/progress", lambda route: route.fulfill(content_type="text/event-stream", body=empty))
    page = tab.page
    page.goto(server.url)
    newest, oldest = page.locator(f"[data-job='{jobs[-1]}']"), page.locator(f"[data-job='{jobs[0]}']")
    expect(newest).to_be_visible()
    for count in (60, 70):
        page.get_by_role("button", name="Show older").click()
        expect(page.locator(".job")).to_have_count(count)
    expect(oldest).to_be_attached()
    expect(page.get_by_role("button", name="Show older")).to_be_hidden()
    ids = page.eval_on_selector_all(".job", "(rows) => rows.map((row) => row.dataset.job)")
    assert ids == sorted(ids, reverse=True)
