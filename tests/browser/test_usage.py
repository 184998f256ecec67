"""The line that says how much of a quota is used, and what a refused submission says."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import JOBS
from tests.browser.tab import PageServer, Tab, scrolls_sideways


@pytest.fixture
def limited() -> Iterator[PageServer]:
    with PageServer(":memory:", "--jobs", str(JOBS), env={"HEADWAY_QUOTA": "jobs=2,bytes=5MB,running=1"}) as server:
        yield server


def test_the_line_follows_what_is_kept_and_a_refusal_says_what_is_full(
    limited: PageServer, new_tab: Callable[[PageServer], Tab]
) -> None:
    tab = new_tab(limited)
    tab.expected.append("429")
    tab.page.set_viewport_size({"width": 360, "height": 740})
    page = tab.open()
    line = page.locator("#usage")
    expect(line).to_have_text("Using 0 B of 5 MB · 0 of 2 jobs · 0 running of at most 1 at once")
    limited.submit("steady", {"steps": 1000, "pause_s": 1})
    expect(line).to_contain_text("1 of 2 jobs · 1 running of at most 1 at once")
    tab.choose("Go on steadily")
    page.get_by_role("button", name="Start job").click()
    expect(line).to_contain_text("2 of 2 jobs · 1 running of at most 1 at once")
    expect(line).to_have_attribute("data-full", "")
    page.get_by_role("button", name="Start job").click()
    expect(page.get_by_text("The owner's quota of 2 jobs is used up: 2 are kept.")).to_be_visible()
    assert not scrolls_sideways(page)
    limited.purge_all()
    expect(line).to_contain_text("0 of 2 jobs")
    expect(line).not_to_have_attribute("data-full", "")


def test_without_a_quota_there_is_no_line(tab: Tab) -> None:
    with tab.page.expect_response("**/usage"):
        page = tab.open()
    expect(page.locator("#usage")).to_be_hidden()
