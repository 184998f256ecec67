"""The output files of a job on the page: the first hundred at once, the others on request."""

from playwright.sync_api import expect

from tests.browser.tab import PageServer, Tab

COUNT = 450


def test_many_files_are_shown_page_by_page(tab: Tab, server: PageServer) -> None:
    job_id = server.submit("writes", {"count": COUNT})
    server.wait_for(job_id)
    page = tab.open(f"/#/jobs/{job_id}")
    files, amount = page.locator("#detail-files li"), page.locator("#detail-files-amount")
    more = page.get_by_text("Show more")
    for shown in (100, 300):
        expect(files).to_have_count(shown)
        expect(amount).to_have_text(f"{shown} of {COUNT}")
        more.click()
    expect(files).to_have_count(COUNT)
    expect(amount).to_be_hidden()
    expect(more).to_be_hidden()
    assert files.locator("a[download]").all_inner_texts() == [f"part-{number:04}.txt" for number in range(COUNT)]
    page.goto(page.url.partition("#")[0] + "#/")
    expect(page.locator(".job-files").first).to_contain_text(f"and {COUNT - 3} more")


def test_a_page_of_files_that_cannot_be_fetched_is_fetched_on_request(tab: Tab, server: PageServer) -> None:
    job_id = server.submit("writes", {"count": COUNT})
    server.wait_for(job_id)
    page = tab.open(f"/#/jobs/{job_id}")
    files, more = page.locator("#detail-files li"), page.get_by_text("Show more")
    expect(files).to_have_count(100)
    tab.expected += ["Failed to load resource"]
    page.route("**/files?*", lambda route: route.abort())
    more.click()
    expect(page.locator("#detail-files-notice")).to_be_visible()
    page.unroute("**/files?*")
    more.click()
    expect(files).to_have_count(300)
    expect(page.locator("#detail-files-notice")).to_be_hidden()
