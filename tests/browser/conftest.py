"""Real Chromium against a real server process. Skipped, loudly, where there is no Chromium."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from socket import SHUT_RDWR
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
CHROMIUM = Path("/usr/bin/chromium")
JOBS = Path(__file__).with_name("browser_jobs.py")
PATIENCE_S = 20.0

# A test waits for what it expects, never for a time; this only ends a wait that is in vain.
expect.set_options(timeout=PATIENCE_S * 1000)

OBSERVER = """
window.shown = [];
window.gaps = [];
new MutationObserver(() => {
  for (const bar of document.querySelectorAll('[data-job] [role=progressbar]')) {
    const row = bar.closest('[data-job]');
    const now = bar.getAttribute('aria-valuenow');
    const [job, attempt] = [row.dataset.job, Number(row.dataset.attempt)];
    if (now === null || !row.dataset.attempt) continue;
    const last = window.shown.findLast((entry) => entry.job === job);
    if (last?.now !== now || last?.attempt !== attempt) window.shown.push({ job, attempt, now });
  }
}).observe(document, { subtree: true, childList: true, attributeFilter: ['aria-valuenow', 'data-attempt'] });
document.addEventListener('securitypolicyviolation', (event) => {
  console.error(`CSP ${event.violatedDirective} ${event.blockedURI}`);
});
window.countFrames = () => {
  let last = performance.now();
  const frame = (now) => {
    window.gaps.push(now - last);
    last = now;
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
};
"""
"""Records every value that a bar shows, and on demand the time between frames."""


class Server:
    """`run.py` as a process of its own, on a port that stays the same over restarts."""

    def __init__(self, data_dir: str) -> None:
        self.data_dir = data_dir
        self.port = 0
        self._process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "run.py", "--port", str(self.port), "--data-dir", self.data_dir]
        self._process = subprocess.Popen(
            [*command, "--jobs", str(JOBS)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        said: list[str] = []
        assert self._process.stdout
        for line in self._process.stdout:
            said.append(line)
            if found := re.search(r"Listening on http://127\.0\.0\.1:(\d+)", line):
                self.port = int(found[1])
                # What is not read fills the pipe, and then stops the server.
                threading.Thread(target=self._process.stdout.read, daemon=True).start()
                return
        pytest.fail("The server did not start:\n" + "".join(said))

    def stop(self, with_signal: signal.Signals = signal.SIGTERM) -> None:
        if self._process is None:
            return
        self._process.send_signal(with_signal)
        self._process.wait(PATIENCE_S)
        if self._process.stdout:
            self._process.stdout.close()
        self._process = None

    def submit(self, job_type: str, fields: dict[str, Any], query: str = "") -> str:
        """The id of a new job."""
        return str(self.call("POST", f"/jobs/{job_type}{query}", fields)["jobId"])

    def job(self, job_id: str) -> dict[str, Any]:
        return self.call("GET", f"/jobs/{job_id}")

    def finished(self, job_id: str) -> dict[str, Any]:
        """The job, once it has ended."""
        job = self.call("GET", f"/jobs/{job_id}?wait=30")
        assert job["completedAt"], job
        return job

    def cancel_all(self) -> None:
        """So that what one test left running does not sit in the next one's queue."""
        for status in ("running", "queued"):
            for job in self.call("GET", f"/jobs?status={status}&limit=200")["jobs"]:
                self.call("DELETE", f"/jobs/{job['jobId']}?purge=true")

    def call(self, method: str, path: str, fields: Any = None) -> dict[str, Any]:
        body = None if fields is None else json.dumps(fields)
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        with closing(connection):
            connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
            answer = connection.getresponse()
            text = answer.read().decode()
        assert answer.status < 400, f"{method} {path}: {answer.status} {text}"
        return json.loads(text) if text else {}

    @contextmanager
    def recorded(self) -> Iterator[list[dict[str, Any]]]:
        """Every state that the stream of all jobs sends meanwhile, read without any of the page's code."""
        states: list[dict[str, Any]] = []
        ready = threading.Event()
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("GET", "/jobs/progress")
        stream, sock = connection.getresponse(), connection.sock

        def read() -> None:
            event = ""
            for raw in stream:
                name, _, value = raw.decode().rstrip("\n").partition(": ")
                if name == "event":
                    event = value
                    if event == "ready":
                        ready.set()
                elif name == "data" and not event:
                    states.append(json.loads(value))
                elif not name:
                    event = ""

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        assert ready.wait(PATIENCE_S)
        yield states
        sock.shutdown(SHUT_RDWR)  # the reader sees the end
        reader.join(PATIENCE_S)
        stream.close()
        connection.close()


class Tab:
    """A page, and whatever its console complained of: at the end of a test that must be nothing."""

    def __init__(self, page: Page, server: Server) -> None:
        self.page = page
        self.server = server
        self.complaints: list[str] = []
        self.expected: list[str] = []
        page.add_init_script(OBSERVER)
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(f"uncaught: {error}"))

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.complaints.append(message.text)

    def open(self, path: str = "/") -> Page:
        """The page, connected."""
        self.page.goto(self.server.url + path)
        expect(self.page.locator("#connection")).to_have_attribute("data-state", "live")
        return self.page

    def choose(self, title: str) -> None:
        """A job type in the form."""
        self.page.get_by_role("radio", name=re.compile(f"^{title}")).check()

    def serve(self, path: str, html: str) -> None:
        """Makes a page of somebody else's on the server's origin."""
        self.page.route(self.server.url + path, lambda route: route.fulfill(content_type="text/html", body=html))

    def shown(self, job_id: str) -> list[tuple[int, float]]:
        """Attempt and value of the job's bar, each time that one of them changed."""
        entries = self.page.evaluate("window.shown")
        return [(entry["attempt"], float(entry["now"])) for entry in entries if entry["job"] == job_id]

    def unexpected(self) -> list[str]:
        return [text for text in self.complaints if not any(re.search(p, text) for p in self.expected)]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    # One for each module, not for the session: while it lives, no test can run an event loop.
    if not CHROMIUM.exists():
        if os.environ.get("HEADWAY_REQUIRE_BROWSER") == "1":
            pytest.fail(f"HEADWAY_REQUIRE_BROWSER=1, and there is no {CHROMIUM}")
        pytest.skip(f"NO BROWSER TESTS: there is no {CHROMIUM} (apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"],
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def module_server() -> Iterator[Server]:
    server = Server(":memory:")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def server(module_server: Server) -> Iterator[Server]:
    """One server for a module's tests; none leaves a job running for the next."""
    yield module_server
    module_server.cancel_all()


@pytest.fixture
def durable_server(tmp_path: Path) -> Iterator[Server]:
    """A server of the test's own, to stop and start again: it keeps its data."""
    server = Server(str(tmp_path / "data"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def tab(server: Server, new_tab: Callable[[Server], Tab]) -> Tab:
    return new_tab(server)


@pytest.fixture
def new_tab(chromium: Browser) -> Iterator[Callable[[Server], Tab]]:
    """Opens a tab for a server; at the end none may have complained of what the test did not expect."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    tabs: list[Tab] = []

    def make(server: Server) -> Tab:
        tabs.append(Tab(context.new_page(), server))
        return tabs[-1]

    yield make
    context.close()
    assert [text for tab in tabs for text in tab.unexpected()] == []


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], None]:
    """Waits until something that is not an element of a page has come true."""

    def wait(condition: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.02)

    return wait
