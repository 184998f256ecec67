"""What the page costs the browser while many bars move, and how soon it shows a cancellation; in real Chromium.

CPU times are those of the main thread, taken from the browser's own trace: the longest task is what a frame waited for
the page, whatever else the machine did meanwhile.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from tests.support.process import ROOT, ServerProcess

from .report import Play, Table

CHROMIUM = "/usr/bin/chromium"
JOBS = ROOT / "tests" / "browser" / "browser_jobs.py"
BARS = 200
TICKS = 30
HOLDS_UP_MS = 50
"""A longer task is noticeable. Source: W3C Long Tasks."""

MOVE_OURS = """async ({ base, bars, ticks }) => {
  const { store } = await import('/static/app.js');
  for (let tick = 1; tick <= ticks; tick += 1) {
    for (let bar = 0; bar < bars; bar += 1) {
      const change = { version: tick, progress: tick * 3, done: tick, message: `row ${tick}` };
      store.accept({ ...base, jobId: `made-up-${bar}`, ...change });
    }
    await new Promise((next) => setTimeout(next, 100));
  }
}"""
MOVE_BARE = """async ({ bars, ticks }) => {
  const rows = Array.from({ length: bars }, () => {
    const row = document.body.appendChild(document.createElement('p'));
    return [row.appendChild(document.createElement('span')), row.appendChild(document.createElement('progress'))];
  });
  for (let tick = 1; tick <= ticks; tick += 1) {
    requestAnimationFrame(() => {
      for (const [text, progress] of rows) {
        text.textContent = `row ${tick}`;
        progress.max = 100;
        progress.value = tick * 3;
      }
    });
    await new Promise((next) => setTimeout(next, 100));
  }
}"""


def run_bars(play: Play) -> Table:
    """Two hundred rows of the page, against as many bare `<progress>` elements."""
    table = Table(f"page: {BARS} bars that move ten times a second: CPU of the main thread in ms, {play.rounds} rounds")
    found: dict[str, list[tuple[float, float]]] = {"headway": [], "bare": []}
    with ServerProcess(":memory:", "--jobs", str(JOBS)) as server, _chromium() as browser:
        base = {**server.wait_for(server.submit("steady", {"steps": 1})), "status": "running", "progress": 0}
        moving = {"base": base, "bars": BARS, "ticks": TICKS}
        for _ in range(play.rounds):
            for side, path, script in (("headway", "/", MOVE_OURS), ("bare", "/healthz", MOVE_BARE)):
                page = browser.new_page()
                page.goto(f"http://127.0.0.1:{server.port}{path}")
                with _traced(browser, page) as tasks_ms:
                    page.evaluate(script, moving)
                page.close()
                found[side].append((max(tasks_ms), sum(tasks_ms)))
    longest, total = ({side: median(each[n] for each in found[side]) for side in found} for n in (0, 1))
    for side in found:
        table.add(page=side, longest_ms=longest[side], total_ms=total[side])
    table.add(
        page="headway/bare", longest_ms=longest["headway"] / longest["bare"], total_ms=total["headway"] / total["bare"]
    )
    table.expect("page: the longest task with 200 moving bars, in ms", longest["headway"], at_most=HOLDS_UP_MS)
    return table


def run_cancel(play: Play) -> Table:
    """From the click to the state that the server sent, while eight jobs run."""
    table = Table(f"page: a cancellation, from the click to its row's new state in ms, {play.rounds} rounds")
    shown_ms: list[float] = []
    with ServerProcess(":memory:", "--jobs", str(JOBS)) as server, _chromium() as browser:
        for number in range(play.rounds + 7):
            server.submit("steady", {"steps": 10_000}, f"?label=job-{number}")
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.port}/")
        for number in range(play.rounds):
            button = page.get_by_role("button", name=f"Cancel job-{number}", exact=True)
            shown_ms.append(
                button.evaluate(
                    """(button) => new Promise((shown) => {
                      const row = button.closest('.job');
                      const clickedAt = performance.now();
                      new MutationObserver(() => {
                        if (row.dataset.status !== 'running') shown(performance.now() - clickedAt);
                      }).observe(row, { attributeFilter: ['data-status'] });
                      button.click();
                    })"""
                )
            )
    table.add(median_ms=median(shown_ms), longest_ms=max(shown_ms))
    table.expect("page: a cancellation is shown after, in ms", median(shown_ms), at_most=500)
    return table


@contextmanager
def _chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@contextmanager
def _traced(browser: Browser, page: Page) -> Iterator[list[float]]:
    """Afterwards holds the milliseconds of CPU that each task of the page's main thread took."""
    browser.start_tracing(page=page, categories=["disabled-by-default-devtools.timeline"])
    tasks_ms: list[float] = []
    try:
        yield tasks_ms
    finally:
        events: list[dict[str, Any]] = json.loads(browser.stop_tracing())["traceEvents"]
    mains = {
        (event["pid"], event["tid"])
        for event in events
        if event["name"] == "thread_name" and event["args"]["name"] == "CrRendererMain"
    }
    tasks_ms += [
        event["tdur"] / 1000
        for event in events
        if event["name"] == "RunTask" and "tdur" in event and (event["pid"], event["tid"]) in mains
    ]
