"""`<headway-progress>` in Chromium: its states, its connections, forms, and what becomes of it in the document."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.tab import PageServer, Tab
from tests.support.process import eventually

BLANK: dict[str, Any] = dict.fromkeys(("progress", "message", "step", "error", "label"))
JOB = BLANK | {"jobId": "a", "type": "report", "status": "running", "cancelRequested": False, "version": 1}
STATES: dict[str, tuple[dict[str, Any], str]] = {
    "queued": ({"status": "queued"}, "○ Queued"),
    "indeterminate": ({"message": "reading"}, "▸ Running reading"),
    "running": ({"progress": 41.6, "step": "sums"}, "▸ Running 41% sums"),
    "stopping": ({"progress": 41.6, "cancelRequested": True}, "■ Stopping 41%"),
    "completed": ({"status": "completed", "progress": 100}, "✓ Completed 100%"),
    "failed": ({"status": "failed", "progress": 62, "error": {"title": "No pictures"}}, "✕ Failed 62% No pictures"),
    "cancelled": ({"status": "cancelled", "progress": 30}, "\N{EN DASH} Cancelled 30%"),
}
"""What a state changes, and what is read."""

CSP = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; form-action 'self'"
HEAD = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Theirs</title><link rel="icon" href="data:,">
<meta name="color-scheme" content="light dark"><script type="module" src="/static/headway-progress.js"></script>
<main><h1>Bars</h1>BODY</main>"""


def show(tab: Tab, body: str) -> Page:
    """A page of another site, as strict as the server's own, with this in it."""

    def answer(route: Route) -> None:
        route.fulfill(
            content_type="text/html", body=HEAD.replace("BODY", body), headers={"Content-Security-Policy": CSP}
        )

    tab.page.route(tab.server.url + "/theirs", answer)
    tab.page.goto(tab.server.url + "/theirs")
    tab.page.wait_for_function("customElements.get('headway-progress') !== undefined")
    return tab.page


def bars(*urls: str) -> str:
    return "".join(f'<headway-progress job="{url}" label="Report"></headway-progress>' for url in urls)


def text(page: Page, selector: str = "headway-progress") -> Any:
    """What stands below the bar."""
    return expect(page.locator(selector).first.locator("[part=text]"))


@pytest.mark.parametrize("state", STATES)
def test_a_state_is_shown_in_words_and_to_assistive_technology(tab: Tab, state: str) -> None:
    changes, words = STATES[state]
    page = show(tab, '<headway-progress label="Sales"></headway-progress>')
    element = page.locator("headway-progress")
    element.evaluate("(element, state) => { element.state = state; }", JOB | changes)
    shown = element.locator("[part=text] > :not(:empty)").all_text_contents()
    assert " ".join(shown) == words
    bar = page.get_by_role("progressbar", name="Sales")
    known = changes.get("progress")
    assert bar.get_attribute("aria-valuenow") == (None if known is None else f"{known:g}")
    assert element.evaluate("(element, state) => element.matches(`:state(${state})`)", state)
    # Only the end is announced.
    ended = state in ("completed", "failed", "cancelled")
    expect(page.get_by_role("status")).to_have_text(f"Sales {state}" if ended else "")


def test_an_element_follows_its_job_to_the_end_and_tells(tab: Tab, server: PageServer) -> None:
    job_id = server.submit("steady", {"steps": 20})
    page = show(tab, "")
    page.evaluate(
        """(url) => {
          const element = document.createElement('headway-progress');
          window.told = [];
          for (const name of ['state', 'end', 'problem']) {
            element.addEventListener(name, ({ type, detail }) => told.push([type, detail.status, detail.version]));
          }
          document.querySelector('main').append(element);
          element.job = url;
        }""",
        f"/jobs/{job_id}",
    )
    text(page).to_contain_text("Completed")
    told = page.evaluate("told")
    assert [name for name, *_ in told] == ["state"] * (len(told) - 1) + ["end"]
    assert told[-1][1] == "completed"
    versions = [version for *_, version in told[:-1]]
    assert versions == sorted(set(versions))


def test_fifty_elements_share_connections_and_all_end(tab: Tab, server: PageServer) -> None:
    streams: list[str] = []
    tab.page.on("request", lambda request: streams.append(request.url) if "/progress" in request.url else None)
    jobs = [server.submit("steady", {"steps": 30}) for _ in range(50)]
    page = show(tab, bars(*(f"/jobs/{job}" for job in jobs)))
    expect(page.locator("headway-progress:state(completed)")).to_have_count(50)
    assert sum("/jobs/progress?ids=" in url for url in streams) == 1
    assert sum("/jobs/progress" not in url for url in streams) == 3


def test_an_element_goes_on_after_its_server_was_killed(
    durable_server: PageServer, new_tab: Callable[[PageServer], Tab]
) -> None:
    tab = new_tab(durable_server)
    tab.expected.append("net::ERR")
    job_id = durable_server.submit("careful", {"steps": 10_000, "pause_s": 0.05})
    page = show(tab, bars(f"/jobs/{job_id}"))
    text(page).to_contain_text("%")
    durable_server.kill()
    text(page).to_contain_text("Offline, retrying…")
    durable_server.restart()
    expect(page.locator("headway-progress:state(lost)")).to_have_count(0)
    durable_server.request("DELETE", f"/jobs/{job_id}")
    text(page).to_contain_text("Cancelled")


def test_an_element_whose_job_is_deleted_or_unknown_says_so(tab: Tab, server: PageServer) -> None:
    tab.expected.append("404")
    job_id = server.submit("ping", {}, "?runAt=2099-01-01T00:00:00Z")
    page = show(tab, bars(f"/jobs/{job_id}", "/jobs/nothing"))
    text(page).to_contain_text("Queued")
    second = page.locator("headway-progress").nth(1)
    expect(second.locator("[part=text]")).to_have_text("Not found: There is no such job.")
    server.request("DELETE", f"/jobs/{job_id}?purge=true")
    text(page).to_contain_text(CANCELLED_OR_GONE)


CANCELLED_OR_GONE = re.compile("Cancelled|The job is gone")


def test_an_element_that_is_moved_goes_on_and_one_that_is_removed_stops(tab: Tab, server: PageServer) -> None:
    streams: list[str] = []
    tab.page.on("request", lambda request: streams.append(request.url) if "/progress" in request.url else None)
    job_id = server.submit("steady", {"steps": 100_000})
    page = show(tab, bars(f"/jobs/{job_id}") + '<div id="there"></div>')
    text(page).to_contain_text("%")
    page.evaluate("there.append(document.querySelector('headway-progress'))")
    shown = page.locator("headway-progress").get_by_role("progressbar").get_attribute("aria-valuenow")
    expect(page.get_by_role("progressbar")).not_to_have_attribute("aria-valuenow", str(shown))
    assert len(streams) == 1
    page.evaluate("window.removed = document.querySelector('headway-progress'); removed.remove()")
    eventually(lambda: open_streams(server) == 0)
    page.evaluate("there.append(removed)")
    eventually(lambda: open_streams(server) == 1)


def open_streams(server: PageServer) -> float:
    metrics = server.request("GET", "/metrics").body.decode()
    return next(float(line.split()[1]) for line in metrics.splitlines() if line.startswith("headway_streams_open "))


def test_another_job_in_the_attribute_begins_anew_and_none_stops(tab: Tab, server: PageServer) -> None:
    first, second = (server.submit("steady", {"steps": 100_000, "message": message}) for message in ("one", "two"))
    page = show(tab, bars(f"/jobs/{first}"))
    text(page).to_contain_text("one")
    page.evaluate("(url) => { document.querySelector('headway-progress').job = url; }", f"/jobs/{second}")
    text(page).to_contain_text("two")
    eventually(lambda: open_streams(server) == 1)
    page.evaluate("document.querySelector('headway-progress').job = null")
    text(page).to_have_text("")
    eventually(lambda: open_streams(server) == 0)


def test_the_module_can_be_loaded_twice(tab: Tab, server: PageServer) -> None:
    job_id = server.submit("ping")
    page = show(tab, bars(f"/jobs/{job_id}"))
    page.evaluate("import('/static/headway-progress.js?again')")
    text(page).to_contain_text("Completed")


def test_what_was_set_before_the_element_was_defined_counts(tab: Tab, server: PageServer) -> None:
    tab.serve("/late", HEAD.replace('type="module"', 'type="late"').replace("BODY", bars("/jobs/late")))
    page = tab.page
    page.goto(f"{server.url}/late")
    page.evaluate(
        """(state) => {
          const element = document.querySelector('headway-progress');
          element.state = state;
          element.client = { job: () => ({ states: async function* () { yield { ...state, progress: 8 }; } }) };
          return import('/static/headway-progress.js');
        }""",
        JOB | {"progress": 7},
    )
    text(page).to_contain_text("8%")
    assert page.evaluate("Object.keys(document.querySelector('headway-progress'))") == ["client"]


def test_a_form_becomes_a_job_and_errors_stand_at_their_fields(tab: Tab, server: PageServer) -> None:
    tab.expected.append("422")
    page = show(
        tab,
        """<headway-progress><form action="/jobs/steady"><label>Steps <input name="steps" type="number"></label>
        <label>Message <input name="message"></label><label>Lines <input name="log_lines"></label>
        <button>Start</button></form></headway-progress>""",
    )
    page.get_by_label("Steps").fill("0")
    page.get_by_role("button", name="Start").click()
    text(page).to_contain_text("The request is not valid")
    assert page.get_by_label("Steps").evaluate("(input) => input.validationMessage") != ""
    page.get_by_label("Steps").fill("3")
    page.get_by_label("Message").fill("from a form")
    page.get_by_role("button", name="Start").click()
    text(page).to_contain_text("Completed")
    (job,) = server.request("GET", "/jobs").json["jobs"]
    sent = server.request("GET", f"/jobs/{job['jobId']}").json["input"]
    assert (sent["steps"], sent["message"]) == (3, "from a form")


def test_a_form_with_a_file_becomes_an_upload(tab: Tab, server: PageServer) -> None:
    page = show(
        tab,
        """<headway-progress><form action="/jobs/csv-report"><label>Table <input name="file" type="file"></label>
        <button>Start</button></form></headway-progress>""",
    )
    table = {"name": "a.csv", "mimeType": "text/csv", "buffer": b"a,b\n1,2\n"}
    page.get_by_label("Table").set_input_files(table)  # type: ignore[arg-type]
    page.get_by_role("button", name="Start").click()
    text(page).to_contain_text("Completed")
    assert server.request("GET", "/jobs").json["jobs"][0]["type"] == "csv-report"


def test_a_form_waits_for_a_required_job_and_sends_its_id(tab: Tab, server: PageServer) -> None:
    job_id = server.submit("steady", {"steps": 100_000})
    page = show(tab, f'<form id="order"><headway-progress name="report" required job="/jobs/{job_id}"></form>')
    text(page).to_contain_text("%")
    ask = "(form) => [form.checkValidity(), new FormData(form).get('report')]"
    assert page.locator("#order").evaluate(ask) == [False, job_id]
    server.request("DELETE", f"/jobs/{job_id}")
    text(page).to_contain_text("Cancelled")
    why = "document.querySelector('headway-progress').validationMessage"
    assert page.evaluate(why) == "The job has been cancelled."
    done = server.submit("ping")
    page.evaluate("(url) => { document.querySelector('headway-progress').job = url; }", f"/jobs/{done}")
    text(page).to_contain_text("Completed")
    assert page.locator("#order").evaluate(ask) == [True, done]


def test_parts_properties_and_states_are_for_the_page_s_style(tab: Tab, server: PageServer) -> None:
    page = show(tab, '<headway-progress label="Sales"></headway-progress>')
    page.evaluate(
        """(state) => {
          const sheet = new CSSStyleSheet();
          sheet.replaceSync(`
            headway-progress { --headway-height: 20px; --headway-running: rgb(1, 2, 3); }
            headway-progress:state(failed) { --headway-failed: rgb(4, 5, 6); }
            headway-progress::part(text) { display: none; }`);
          document.adoptedStyleSheets = [sheet];
          document.querySelector('headway-progress').state = state;
        }""",
        JOB | {"progress": 50},
    )
    look = """(fill) => [getComputedStyle(fill).backgroundColor, fill.parentElement.offsetHeight]"""
    fill = page.locator("headway-progress [part=fill]")
    assert fill.evaluate(look) == ["rgb(1, 2, 3)", 20]
    expect(page.locator("headway-progress [part=text]")).to_be_hidden()
    page.evaluate("(s) => { document.querySelector('headway-progress').state = s; }", JOB | {"status": "failed"})
    assert fill.evaluate(look)[0] == "rgb(4, 5, 6)"


@pytest.mark.parametrize("look", [{}, {"color_scheme": "dark"}, {"viewport": {"width": 360, "height": 640}}], ids=str)
def test_every_state_is_readable_and_fits(chromium: Browser, server: PageServer, look: dict[str, Any]) -> None:
    context = chromium.new_context(reduced_motion="reduce", **look)
    tab = Tab(context.new_page(), server)
    page = show(tab, '<headway-progress label="Sales"></headway-progress>' * len(STATES))
    long = {"message": "aggregating " + "March" * 40}
    states = [JOB | long | changes for changes, _ in STATES.values()]
    page.evaluate(
        "(states) => document.querySelectorAll('headway-progress').forEach((e, i) => { e.state = states[i]; })", states
    )
    assert not page.evaluate("document.documentElement.scrollWidth > innerWidth")
    contrasts = page.evaluate(CONTRASTS)
    context.close()
    assert tab.unexpected() == []
    assert len(contrasts) == len(STATES) - 1
    assert min(contrasts) >= 3, contrasts


CONTRASTS = """() => {
  const light = (color) => {
    const [r, g, b] = color.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255)
      .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
  // Where it is indeterminate, the fill is stripes in the colour of "running".
  const all = [...document.querySelectorAll('headway-progress:not(:state(indeterminate))')];
  return all.map(({ shadowRoot }) => contrast(
    getComputedStyle(shadowRoot.querySelector('[part=fill]')).backgroundColor,
    getComputedStyle(shadowRoot.querySelector('[part=bar]')).backgroundColor));
}"""
"""Of each fill against its track (WCAG 2.2, 1.4.11)."""
