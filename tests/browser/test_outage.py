"""The server is killed in the middle of a job and restarted after a while."""

from collections.abc import Callable

from playwright.sync_api import Page, Request, expect

from tests.browser.tab import PageServer, Tab

AWAY_MS = 5_000
QUIET_MS = 8_000
"""A stream that ended would be requested again after about 2 s, as `retry` says, or 5 s, as the page does itself."""

NOTES = """
window.states = [];
window.statesOfLog = [];
window.values = [];
const note = (list, value) => { if (value != null && list.at(-1) !== value) list.push(value); };
observe(() => {
  note(window.states, document.querySelector('#connection-word')?.textContent);
  note(window.statesOfLog, document.querySelector('#log-connection')?.textContent);
  const bar = document.querySelector('#detail-bar headway-progress:defined')?.shadowRoot;
  note(window.values, bar?.querySelector('[aria-valuenow]')?.getAttribute('aria-valuenow'));
}, { subtree: true, childList: true, characterData: true, attributeFilter: ['aria-valuenow'] });
"""
"""Records the connection states that the page shows, and every value of the bar in the job's view."""


def streams_of(page: Page) -> list[str]:
    """The streams that the page requests from now on."""
    asked: list[str] = []

    def note(request: Request) -> None:
        if "/progress" in request.url:
            asked.append(request.url)

    page.on("request", note)
    return asked


def test_while_a_killed_server_is_down_the_page_shows_it_and_then_the_job_continues(
    durable_server: PageServer, new_tab: Callable[[PageServer], Tab]
) -> None:
    tabs = listing, viewing = new_tab(durable_server), new_tab(durable_server)
    for tab in tabs:
        tab.expected += ["Failed to load resource", "net::ERR"]
        tab.page.add_init_script(NOTES)
        tab.open()
    job_id = durable_server.submit("careful", {"steps": 200, "pause_s": 0.05})
    bar = listing.page.locator(f"[data-job='{job_id}'] [aria-valuenow]")
    expect(bar).to_be_attached()
    viewing.page.locator(f"[data-job='{job_id}'] .job-name").click()
    expect(viewing.page.locator("#detail-bar [aria-valuenow]")).to_be_attached()
    expect(viewing.page.locator("#log-connection")).to_have_text("live")

    durable_server.kill()
    for tab in tabs:
        tab.page.wait_for_function("window.states.includes('Reconnecting…')")
    viewing.page.wait_for_function("window.statesOfLog.includes('reconnecting…')")
    held = float(bar.get_attribute("aria-valuenow") or 0)
    listing.page.wait_for_timeout(AWAY_MS)
    durable_server.restart()
    for tab in tabs:
        expect(tab.page.locator("#connection")).to_contain_text("Live")
    expect(listing.page.locator(f"[data-job='{job_id}'] .badge")).to_have_text("✓Completed", timeout=60_000)
    expect(viewing.page.locator("#detail-badge")).to_have_text("✓Completed")
    assert durable_server.job(job_id)["result"] == 2  # the second attempt

    in_list = [value for _, value in listing.shown(job_id)]
    in_view = [float(value) for value in viewing.page.evaluate("window.values")]
    for values in (in_list, in_view):
        assert values == sorted(values)
        assert values[-1] == 100
        assert any(held < value < 100 for value in values)
    for tab in tabs:
        states = tab.page.evaluate("window.states")
        assert states[:3] == ["Connecting…", "Live", "Reconnecting…"]
        assert states[-1] == "Live"

    # The stream of all jobs stays open; that of the ended job is closed, and no other is requested.
    asked = [streams_of(tab.page) for tab in tabs]
    listing.page.wait_for_timeout(QUIET_MS)
    assert asked == [[], []]
