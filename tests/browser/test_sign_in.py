"""Servers that require a key: signing in and out, a session that ends meanwhile, read-only keys."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.keyed import KeyedServer
from tests.browser.tab import PageServer, Tab, scrolls_sideways
from tests.support.process import eventually

UNAUTHORIZED = "401"
CUT = "net::ERR_INCOMPLETE_CHUNKED_ENCODING"
"""The console's error for a stream whose key was revoked."""


@pytest.fixture
def keyed(tmp_path: Path) -> Iterator[KeyedServer]:
    with KeyedServer(tmp_path / "data") as server:
        yield server


@pytest.fixture
def tab(keyed: KeyedServer, new_tab: Callable[[PageServer], Tab]) -> Tab:
    return new_tab(keyed)


def arrive(tab: Tab, path: str = "/") -> Page:
    """The page without a session."""
    tab.page.goto(tab.server.url + path)
    expect(tab.page.get_by_label("API key")).to_be_focused()
    return tab.page


def sign_in(page: Page, key: str) -> None:
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")


def test_signing_in_shows_the_app_and_a_reload_keeps_the_session(tab: Tab, keyed: KeyedServer) -> None:
    key = keyed.make_key("laptop", "--owner", "ana")
    asked: list[str] = []
    tab.page.on("request", lambda request: asked.append(request.url.removeprefix(keyed.url)))
    page = arrive(tab)
    assert [path for path in asked if not path.startswith("/static/")] == ["/", "/session"]
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(page.locator("#sign-in")).to_contain_text("python run.py keys create NAME")
    for hidden in ("#home", "#detail", "#connection", "#who"):
        expect(page.locator(hidden)).to_be_hidden()

    page.keyboard.type(key)
    page.keyboard.press("Enter")
    for _ in range(2):
        expect(page.locator("#connection")).to_have_attribute("data-state", "live")
        expect(page.get_by_role("group", name="Signed in")).to_contain_text("laptop (ana)")
        page.get_by_role("radio", name="Go on steadily").check()
        page.get_by_role("button", name="Start job").click()
        expect(page.get_by_role("link", name="View the job")).to_be_visible()
        asked_for_page = asked.count("/")
        page.reload()
    assert asked_for_page == 2  # at first, and by the reload
    # No script can read the session cookie, and the page has stored the key nowhere.
    assert page.evaluate("[document.cookie, {...localStorage}, {...sessionStorage}]") == ["", {}, {}]
    assert page.get_by_label("API key").input_value() == ""


def test_the_view_in_the_url_is_shown_after_signing_in(tab: Tab, keyed: KeyedServer) -> None:
    key = keyed.make_key("ana")
    job_id = keyed.submit_with(key, "steady", {"steps": 3}, "?label=mine")
    page = arrive(tab, f"/#/jobs/{job_id}")
    assert page.title() == "Sign in · Headway"
    sign_in(page, key)
    expect(page.locator("#detail-title")).to_have_text("mine")
    expect(page.locator("#detail-title")).to_be_focused()


def test_an_invalid_key_is_reported_and_can_be_corrected(tab: Tab, keyed: KeyedServer) -> None:
    tab.expected.append(UNAUTHORIZED)
    page = arrive(tab)
    field, alert = page.get_by_label("API key"), page.get_by_role("alert")
    page.keyboard.press("Enter")
    expect(alert).to_have_text("Enter your key.")
    field.fill("hwk_wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(alert).to_have_text("This key is not valid: it is unknown or has been revoked.")
    expect(field).to_be_focused()
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_have_accessible_description(re.compile("This key is not valid"))
    field.fill(f" {keyed.make_key('ana')} ")
    expect(alert).to_have_count(0)
    page.keyboard.press("Enter")
    expect(page.locator("#who-name")).to_have_text("ana")


def test_after_too_many_attempts_the_form_shows_when_to_retry_and_still_accepts_a_valid_key(
    new_tab: Callable[[PageServer], Tab], tmp_path: Path
) -> None:
    with KeyedServer(tmp_path / "data", {"HEADWAY_FAILED_SIGN_INS_PER_MINUTE": "2"}) as keyed:
        tab = new_tab(keyed)
        tab.expected += [UNAUTHORIZED, "429", CUT]
        page = arrive(tab)
        alert = page.get_by_role("alert")
        for wrong in ("hwk_a", "hwk_b"):
            page.get_by_label("API key").fill(wrong)
            page.keyboard.press("Enter")
            expect(alert).to_contain_text("This key is not valid: it is unknown")
        page.get_by_label("API key").fill("hwk_c")
        page.keyboard.press("Enter")
        expect(alert).to_have_text(re.compile(r"too many failed attempts from your address.* try again in \d+ (s|min)"))
        sign_in(page, keyed.make_key("ana"))


def test_the_key_stays_in_the_field_while_the_server_cannot_be_reached(tab: Tab) -> None:
    tab.expected.append("Failed to load resource")
    page = arrive(tab)
    page.route("**/session", lambda route: route.abort("connectionrefused"))
    page.get_by_label("API key").fill("hwk_x")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("The server cannot be reached. Try again in a moment.")
    expect(page.get_by_label("API key")).to_have_value("hwk_x")


def test_signing_out_leaves_nothing_for_the_next_user(tab: Tab, keyed: KeyedServer) -> None:
    tab.expected += [CUT, UNAUTHORIZED]  # streams may be cut, and polled, before the page knows that it is signed out
    ana, ben = keyed.make_key("ana"), keyed.make_key("ben")
    job_id = keyed.submit_with(ana, "steady", {"steps": 1}, "?label=of-ana")
    page = arrive(tab, f"/#/jobs/{job_id}")
    sign_in(page, ana)
    expect(page.locator("#detail-title")).to_have_text("of-ana")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("API key")).to_be_focused()
    assert page.url == f"{keyed.url}/"
    assert page.context.cookies() == []
    sign_in(page, ben)
    expect(page.locator("#who-name")).to_have_text("ben")
    expect(page.locator("#empty-first")).to_be_visible()
    assert "of-ana" not in page.content()


@pytest.mark.parametrize("view", ["home", "detail"])
def test_what_was_typed_survives_the_end_of_the_session(tab: Tab, keyed: KeyedServer, view: str) -> None:
    tab.expected += [UNAUTHORIZED, CUT]
    first, second = keyed.make_key("first", "--owner", "ana"), keyed.make_key("second", "--owner", "ana")
    job_id = keyed.submit_with(first, "steady", {"steps": 100_000}, "?label=going-on")
    page = arrive(tab)
    sign_in(page, first)
    tab.choose("Go on steadily")
    page.get_by_role("textbox", name="Message").fill("half a sentence")
    if view == "detail":
        page.get_by_role("link", name="going-on").click()
        expect(page.locator("#log-connection")).to_have_text("live")

    keyed.revoke("first")
    expect(page.get_by_label("API key")).to_be_focused()
    expect(page.locator("#sign-in-why")).to_have_text(re.compile("^Your session has ended"))
    expect(page.get_by_text("going-on").locator("visible=true")).to_have_count(0)
    meanwhile = keyed.submit_with(second, "steady", {"steps": 1}, "?label=meanwhile")
    keyed.wait_for(meanwhile)

    sign_in(page, second)
    if view == "detail":
        expect(page.locator("#log-connection")).to_have_text("live")
        page.get_by_role("link", name="All jobs").click()
    expect(page.get_by_role("textbox", name="Message")).to_have_value("half a sentence")
    expect(page.locator(f"[data-job='{meanwhile}'] .badge")).to_have_text("✓Completed")
    ticks = len(tab.shown(job_id))
    eventually(lambda: len(tab.shown(job_id)) > ticks)


def test_what_one_user_typed_is_not_shown_to_another(tab: Tab, keyed: KeyedServer) -> None:
    tab.expected += [UNAUTHORIZED, CUT]
    ana, ben = keyed.make_key("ana"), keyed.make_key("ben")
    page = arrive(tab)
    sign_in(page, ana)
    tab.choose("Go on steadily")
    page.get_by_role("textbox", name="Message").fill("a secret")
    keyed.revoke("ana")
    expect(page.get_by_label("API key")).to_be_focused()
    sign_in(page, ben)
    expect(page.locator("#who-name")).to_have_text("ben")
    tab.choose("Go on steadily")
    expect(page.get_by_role("textbox", name="Message")).to_have_value("working")


def test_a_tab_that_is_focused_again_shows_who_is_signed_in_now(
    keyed: KeyedServer, new_tab: Callable[[PageServer], Tab]
) -> None:
    ana, ben = keyed.make_key("ana"), keyed.make_key("ben")
    keyed.submit_with(ana, "steady", {"steps": 100_000}, "?label=of-ana")
    here, there = new_tab(keyed), new_tab(keyed)
    for tab in (here, there):
        tab.expected += [UNAUTHORIZED, CUT]
    sign_in(arrive(here), ana)
    there.open()
    expect(there.page.get_by_role("link", name="of-ana")).to_be_visible()
    here.page.get_by_role("button", name="Sign out").click()
    expect(here.page.get_by_label("API key")).to_be_focused()
    expect(there.page.get_by_label("API key")).to_be_visible()  # its stream has ended too
    sign_in(here.page, ben)
    there.page.evaluate("dispatchEvent(new Event('focus'))")
    expect(there.page.locator("#who-name")).to_have_text("ben")
    expect(there.page.get_by_role("link", name="of-ana")).to_have_count(0)


def test_the_permissions_of_a_key_are_shown_in_other_tabs_too(
    keyed: KeyedServer, new_tab: Callable[[PageServer], Tab]
) -> None:
    ana, wall = keyed.make_key("ana"), keyed.make_key("wall", "--owner", "ana", "--read-only")
    here, there = new_tab(keyed), new_tab(keyed)
    for tab in (here, there):
        tab.expected += [UNAUTHORIZED, CUT]
    sign_in(arrive(here), ana)
    there.open()
    start = there.page.get_by_role("button", name="Start job")
    expect(start).to_be_enabled()
    here.page.get_by_role("button", name="Sign out").click()
    expect(here.page.get_by_label("API key")).to_be_focused()
    sign_in(here.page, wall)
    there.page.evaluate("dispatchEvent(new Event('focus'))")
    expect(there.page.locator("#who-role")).to_have_text("read-only")
    expect(start).to_be_disabled()


def test_a_job_started_after_the_session_has_ended_is_reported(tab: Tab, keyed: KeyedServer) -> None:
    tab.expected += [UNAUTHORIZED, CUT]
    key = keyed.make_key("ana")
    page = arrive(tab)
    sign_in(page, key)
    tab.choose("Go on steadily")
    page.context.clear_cookies()  # the streams go on, so that the page has not noticed
    page.get_by_role("button", name="Start job").click()
    expect(page.get_by_label("API key")).to_be_focused()
    sign_in(page, key)
    expect(page.get_by_role("alert")).to_contain_text("Sign in and try again.")
    page.get_by_role("button", name="Start job").click()
    expect(page.get_by_role("link", name="View the job")).to_be_visible()


def test_with_a_read_only_key_everything_is_shown_and_the_reason_why_nothing_can_be_changed(
    tab: Tab, keyed: KeyedServer
) -> None:
    ana, wall = keyed.make_key("ana"), keyed.make_key("wall", "--owner", "ana", "--read-only")
    running = keyed.submit_with(ana, "steady", {"steps": 100_000}, "?label=running")
    failed = keyed.submit_with(ana, "doomed", {"pause_s": 0}, "?label=failed")
    keyed.wait_for(failed)
    page = arrive(tab)
    sign_in(page, wall)
    expect(page.locator("#who-role")).to_have_text("read-only")
    writes: list[str] = []
    page.on("request", lambda request: writes.append(request.url) if request.method != "GET" else None)

    why = re.compile("read-only key")
    tab.choose("Go on steadily")
    row = page.locator(f"[data-job='{failed}']")
    controls = {
        "Start job": page.get_by_text(why).locator("visible=true"),
        "Cancel running": page.locator(f"[data-job='{running}']").get_by_role("status"),
        "Run again failed": row.get_by_role("status"),
        "Delete failed": row.get_by_role("status"),
    }
    for name, place in controls.items():
        button = page.get_by_role("button", name=name)
        expect(button).to_have_attribute("aria-disabled", "true")
        expect(button).to_have_accessible_description(why)
        button.click(force=True)
        expect(place.first).to_contain_text(why)
    expect(page.get_by_role("button", name="Delete failed")).to_be_visible()  # it asks nothing
    assert keyed.job(running)["status"] == "running"
    assert writes == []


def test_an_admin_sees_the_jobs_of_all_owners(tab: Tab, keyed: KeyedServer) -> None:
    job_id = keyed.submit_with(keyed.make_key("ana"), "steady", {"steps": 1})
    page = arrive(tab)
    sign_in(page, keyed.make_key("root", "--admin"))
    expect(page.locator("#who-role")).to_have_text("admin")
    expect(page.locator(f"[data-job='{job_id}'] .badge")).to_have_text("✓Completed")


def test_the_longest_name_fits_a_small_screen(tab: Tab, keyed: KeyedServer) -> None:
    tab.page.set_viewport_size({"width": 360, "height": 740})
    page = arrive(tab)
    assert not scrolls_sideways(page)
    sign_in(page, keyed.make_key("n" * 64, "--owner", "o" * 64, "--read-only", "--admin"))
    expect(page.get_by_role("button", name="Sign out")).to_be_in_viewport(ratio=1)
    assert not scrolls_sideways(page)


def test_the_api_description_requires_a_key_and_is_shown_after_signing_in(tab: Tab, keyed: KeyedServer) -> None:
    tab.expected.append(UNAUTHORIZED)
    tab.page.goto(f"{keyed.url}/docs")
    expect(tab.page.locator("#notice")).to_contain_text("requires an API key")
    tab.page.get_by_role("link", name="Sign in").click()
    sign_in(tab.page, keyed.make_key("ana"))
    tab.page.goto(f"{keyed.url}/docs#submit-ping")
    ping = tab.page.locator("#submit-ping")
    ping.get_by_label("Prefer", exact=True).fill("wait=30")
    ping.get_by_role("button", name="Send").click()
    expect(ping.locator("pre[aria-live]")).to_contain_text('"reply":"pong"')
