"""Real Chromium against a real server process. Skipped with a message if Chromium is not installed."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.browser.tab import MAX_TASKS, PageServer, Tab
from tests.support.process import WAIT_TIMEOUT_S

CHROMIUM = Path("/usr/bin/chromium")
JOBS = Path(__file__).with_name("browser_jobs.py")

# Tests wait for what they expect, never for a time; this only limits a wait that fails.
expect.set_options(timeout=WAIT_TIMEOUT_S * 1000)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    # One per module, not per session: while it is open, no other test can run an event loop.
    if not CHROMIUM.exists():
        if os.environ.get("TESTS_REQUIRE_BROWSER") == "1":
            pytest.fail(f"TESTS_REQUIRE_BROWSER=1, and there is no {CHROMIUM}")
        pytest.skip(f"NO BROWSER TESTS: there is no {CHROMIUM} (apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"],
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def module_server() -> Iterator[PageServer]:
    with PageServer(":memory:", "--jobs", str(JOBS), "--max-tasks", str(MAX_TASKS)) as server:
        yield server


@pytest.fixture
def server(module_server: PageServer) -> Iterator[PageServer]:
    """One server for a module's tests; each starts without jobs."""
    yield module_server
    module_server.purge_all()


@pytest.fixture
def durable_server(tmp_path: Path) -> Iterator[PageServer]:
    """A server of the test's own that can be stopped and restarted with the same data and port."""
    with PageServer(tmp_path / "data", "--jobs", str(JOBS)) as server:
        yield server


@pytest.fixture
def new_tab(chromium: Browser) -> Iterator[Callable[[PageServer], Tab]]:
    """Opens tabs for a server; at the end, no console may have an error that the test did not expect.

    Without motion, since a bar that moves in software costs a core; `test_progress.py` has its own, with it.
    """
    context = chromium.new_context(
        viewport={"width": 1280, "height": 900}, accept_downloads=True, reduced_motion="reduce"
    )
    tabs: list[Tab] = []

    def make(server: PageServer) -> Tab:
        tabs.append(Tab(context.new_page(), server))
        return tabs[-1]

    yield make
    context.close()
    assert [text for tab in tabs for text in tab.unexpected()] == []


@pytest.fixture
def tab(server: PageServer, new_tab: Callable[[PageServer], Tab]) -> Tab:
    return new_tab(server)
