"""The guide's pages, hook and element in Chromium: as plain HTML, by axe, with React, and with htmx."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.conftest import chromium
from tests.docs.pages import blocks_of
from tests.support.process import ROOT, ServerProcess

__all__ = ["chromium"]

GUIDE = blocks_of(ROOT / "docs/javascript.md")
ELEMENT, FORM, HTMX = [block.text for block in GUIDE if block.language == "html"]
STATES = [{"status": status, "progress": 40} for status in ("queued", "running", "completed", "failed", "cancelled")]

REACT = """
const found = {};
function require(name) {
  if (!found[name]) {
    found[name] = { exports: {} };
    new Function("module", "exports", "require", SOURCES[name])(found[name], found[name].exports, require);
  }
  return found[name].exports;
}
window.React = require("react");
window.ReactDOM = require("react-dom/client");
"""
"""Loads React's modules, which are CommonJS, without a bundler."""

APP = """<!doctype html><title>Theirs</title><link rel="icon" href="data:,"><div id="root"></div>
<script>const SOURCES = MODULES; REACT</script>
<script type="importmap">{"imports": {"react": "/react.js", "@headway/client": "/static/headway.js"}}</script>
<script type="module">
import { useJob } from "/use-job.mjs";
import "/static/headway-progress.js";
const { createElement: h, StrictMode } = React;
function Bar({ url }) {
  const { state, problem } = useJob(url);
  return h("p", { className: "hook" }, problem ? problem.status : `${state?.status} ${state?.progress}`);
}
function App({ url }) {
  const [ended, setEnded] = React.useState("");
  const onend = () => setEnded("ended");
  return [h(Bar, { key: 1, url }), h("headway-progress", { key: 2, job: url, label: "Job", onend }),
    h("output", { key: 3 }, ended)];
}
const root = ReactDOM.createRoot(document.getElementById("root"));
window.show = (url) => root.render(h(StrictMode, {}, h(App, { url })));
</script>"""


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    page = chromium.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    page.close()
    assert errors == []


def serve(page: Page, path: str, body: str, content_type: str = "text/html") -> None:
    page.route(f"**{path}", lambda route: route.fulfill(content_type=content_type, body=body))


def open_page(page: Page, server: ServerProcess, html: str) -> None:
    serve(page, "/theirs", html.replace("<title>", '<link rel="icon" href="data:,"><title>'))
    page.goto(f"http://127.0.0.1:{server.port}/theirs")


def test_the_page_of_the_guide_shows_a_job_and_its_form_starts_one(server: ServerProcess, page: Page) -> None:
    open_page(page, server, ELEMENT.replace("JOB_ID", server.submit("steady", {"steps": 3})))
    expect(page.locator("headway-progress:state(completed)")).to_be_visible()
    open_page(page, server, FORM)
    page.get_by_role("button", name="Draw").click()
    expect(page.locator("headway-progress:state(completed)")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_any_state(server: ServerProcess, page: Page, workshop: Path, scheme: str) -> None:
    page.emulate_media(color_scheme="light" if scheme == "light" else "dark", reduced_motion="reduce")
    bars = "<headway-progress></headway-progress>" * len(STATES)
    html = '<!doctype html><html lang="en"><meta name="color-scheme" content="light dark"><title>All</title>'
    html += f'<script type="module" src="/static/headway-progress.js"></script><main><h1>All</h1>{bars}</main>'
    open_page(page, server, html)
    blank = {"label": "Sales", "type": "report", "message": "working", "cancelRequested": False, "jobId": "a"}
    states = [{**blank, "error": {"title": "No pictures"}, **state} for state in STATES]
    page.evaluate(
        "(states) => document.querySelectorAll('headway-progress').forEach((e, i) => { e.state = states[i]; })", states
    )
    page.add_script_tag(path=workshop / "node_modules/axe-core/axe.min.js")
    found = page.evaluate("axe.run()")
    assert [(each["id"], each["nodes"]) for each in found["violations"]] == []
    (names,) = [each for each in found["passes"] if each["id"] == "aria-progressbar-name"]
    assert len(names["nodes"]) == len(STATES), "it does not look into the element"
    page.evaluate("for (const { shadowRoot } of document.querySelectorAll('headway-progress')) {"
                  " shadowRoot.querySelector('[part=bar]').removeAttribute('aria-label'); }")  # fmt: skip
    assert "aria-progressbar-name" in [each["id"] for each in page.evaluate("axe.run()")["violations"]]


def test_the_hook_of_the_guide_and_the_element_work_in_react(server: ServerProcess, page: Page, workshop: Path) -> None:
    (hook,) = [block.text for block in GUIDE if block.file == "use-job.mjs"]
    assert len(hook.split("export function")[1].splitlines()) <= 15
    modules = {
        "react": "react",
        "react-dom": "react-dom",
        "react-dom/client": "react-dom-client",
        "scheduler": "scheduler",
    }
    sources = {
        name: (workshop / f"node_modules/{name.partition('/')[0]}/cjs/{file}.production.js").read_text("utf-8")
        for name, file in modules.items()
    }
    serve(page, "/use-job.mjs", hook, "text/javascript")
    serve(page, "/react.js", "export const { useEffect, useState } = React;", "text/javascript")
    script = json.dumps(sources).replace("</", "<\\/")
    open_page(page, server, APP.replace("MODULES", script).replace("REACT</script>", f"{REACT}</script>"))
    page.wait_for_function("window.show !== undefined")
    first, second = server.submit("steady", {"steps": 100_000}), server.submit("steady", {"steps": 3})
    page.evaluate("(url) => show(url)", f"/jobs/{first}")
    expect(page.locator(".hook")).to_contain_text("running")
    page.evaluate("(url) => show(url)", f"/jobs/{second}")
    expect(page.locator(".hook")).to_have_text("completed 100")
    expect(page.locator("output")).to_have_text("ended")
    server.request("DELETE", f"/jobs/{first}?purge=true")
    page.evaluate("(url) => show(url)", f"/jobs/{first}")
    expect(page.locator(".hook")).to_have_text("404")


def test_htmx_fetches_a_fragment_at_each_state_until_the_last(
    server: ServerProcess, page: Page, workshop: Path
) -> None:
    for path, file in {"/htmx.min.js": "htmx.org/dist/htmx.min.js", "/sse.js": "htmx-ext-sse/dist/sse.min.js"}.items():
        serve(page, path, (workshop / "node_modules" / file).read_text("utf-8"), "text/javascript")
    job_id = server.submit("steady", {"steps": 40})
    seen: list[str] = []

    def fragment(route: Route) -> None:
        """What an own backend would answer."""
        job: Any = server.request("GET", f"/jobs/{job_id}").json
        seen.append(job["status"])
        ended = {"HX-Retarget": "#report", "HX-Reswap": "outerHTML"} if job["status"] == "completed" else {}
        route.fulfill(body=f"<p>{job['status']}</p>", content_type="text/html", headers=ended)

    page.route("**/reports/*", fragment)
    streams: list[str] = []
    page.on("request", lambda request: streams.append(request.url) if request.url.endswith("/progress") else None)
    open_page(page, server, HTMX.replace("JOB_ID", job_id))
    expect(page.locator("body > p")).to_have_text("completed")
    expect(page.locator("#report")).to_have_count(0)
    assert seen.count("running") > 1
    assert len(streams) == 1
