"""The page of `headway dev`: its banner and its forms while the job files change."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Route, expect

from tests.browser.tab import PageServer, Tab
from tests.support.developing import HEAD, IN_LOOP, IN_PROCESS, Developing, jobs

OTHER = """
class Other(BaseModel):
    word: str = ""

@job("other", title="Other")
async def other(ctx: Context, input: Other) -> None: ...
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Developing]:
    with Developing(tmp_path) as server:
        yield server


def test_a_broken_file_is_shown_as_text_until_it_is_mended(
    server: Developing, new_tab: Callable[[PageServer], Tab]
) -> None:
    tab = new_tab(server)
    tab.page.goto(server.url)
    banner = tab.page.locator("#dev-banner")
    expect(tab.page.locator("#types .type")).to_have_count(2)
    expect(banner).to_be_hidden()
    server.write(f"{HEAD}\nraise ValueError('<img src=x> <b>bold</b>')\n")
    expect(banner).to_be_visible()
    expect(banner).to_contain_text("jobs.py:10: ValueError: <img src=x> <b>bold</b>")
    expect(banner.locator("pre")).to_contain_text("raise ValueError(")
    assert banner.locator("img, b").count() == 0
    expect(tab.page.locator("#types .type")).to_have_count(2)
    server.write("def f(:")
    expect(banner).to_contain_text("jobs.py:1: SyntaxError")
    tab.page.reload()
    expect(banner).to_contain_text("jobs.py:1: SyntaxError")
    server.write(jobs("mended"))
    expect(banner).to_be_hidden()


def test_forms_follow_the_types_and_what_was_typed_into_others_stays(
    server: Developing, new_tab: Callable[[PageServer], Tab]
) -> None:
    server.write(jobs("x", IN_LOOP, OTHER))
    tab = new_tab(server)
    tab.page.goto(server.url)
    types, form = tab.page.locator("#types .type"), tab.page.locator("#form-place")
    expect(types).to_have_count(2)
    tab.page.locator('[data-type="other"]').click()
    form.get_by_label("Word").fill("typed")
    server.write(jobs("x", IN_LOOP.replace('"in-loop"', '"in-loop", title="Renamed"'), IN_PROCESS, OTHER))
    expect(types).to_have_count(3)
    expect(types.first).to_contain_text("Renamed")
    expect(form.get_by_label("Word")).to_have_value("typed")
    expect(tab.page.locator('[data-type="other"] input')).to_be_checked()
    server.write(jobs("x", OTHER.replace("word: str", "term: str")))
    expect(types).to_have_count(1)
    expect(form.get_by_label("Term")).to_have_value("")
    expect(form.get_by_label("Word")).to_have_count(0)


def test_types_that_change_before_the_page_looks_for_the_first_time_are_shown(
    server: Developing, new_tab: Callable[[PageServer], Tab]
) -> None:
    tab, held = new_tab(server), list[Route]()
    tab.page.route("**/job-types/reload", lambda route: held.append(route))  # noqa: PLW0108 - Playwright sets an attribute
    with tab.page.expect_request("**/job-types/reload"):
        tab.page.goto(server.url)
    expect(tab.page.locator("#types .type")).to_have_count(2)
    server.write(jobs("x", IN_LOOP, IN_PROCESS, OTHER))
    held[0].continue_()
    expect(tab.page.locator("#types .type")).to_have_count(3)
