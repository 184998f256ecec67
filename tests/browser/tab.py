"""A page that records what it shows and its console's errors, and a server on a fixed port."""

import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

from playwright.sync_api import ConsoleMessage, Page, Route, expect

from tests.support.process import WAIT_TIMEOUT_S, ServerProcess

MAX_TASKS = 8
"""How many `async def` jobs run at once on a module's server."""

OBSERVER = """
window.shown = [];
const noteBars = () => {
  for (const element of document.querySelectorAll('[data-job] headway-progress:defined')) {
    const row = element.closest('[data-job]');
    const now = element.shadowRoot.querySelector('[role=progressbar]').getAttribute('aria-valuenow');
    const [job, attempt] = [row.dataset.job, Number(row.dataset.attempt)];
    if (now === null || !row.dataset.attempt) continue;
    const last = window.shown.findLast((entry) => entry.job === job);
    if (last?.now !== now || last?.attempt !== attempt) window.shown.push({ job, attempt, now });
  }
};
window.observed = [document];
window.observe = (callback, options) => {
  const observer = new MutationObserver(callback);
  for (const root of window.observed) observer.observe(root, options);
  (window.observers ??= []).push((root) => observer.observe(root, options));
};
const plainAttachShadow = Element.prototype.attachShadow;
Element.prototype.attachShadow = function (init) {
  const root = plainAttachShadow.call(this, init);
  window.observed.push(root);
  for (const observe of window.observers) observe(root);
  return root;
};
observe(noteBars, { subtree: true, childList: true, attributeFilter: ['aria-valuenow', 'data-attempt'] });
document.addEventListener('securitypolicyviolation', (event) => {
  console.error(`CSP ${event.violatedDirective} ${event.blockedURI}`);
});
"""
"""Records every value that a bar shows. `observe` sees inside of elements too."""

ACCEPT = "(jobs) => import('/static/app.js').then(({ store }) => jobs.forEach((job) => store.accept(job)))"

WATCH_PAGE = """<!doctype html><title>Theirs</title><script type="module">
import { Client } from '/static/headway.js';
window.states = [];
window.controller = new AbortController();
window.job = new Client().job(URL_OF_JOB);
const outcome = job.wait({
  onState: (job) => window.states.push([job.version, job.status]),
  signal: window.controller.signal,
}).then((job) => ({ job }), (error) => ({ error: error.name, status: error.status }));
window.watched = Promise.race([outcome, new Promise((go) => setTimeout(go, 45_000, { error: 'timed out' }))]);
</script>"""
"""A page of another site that waits for a job; `URL_OF_JOB` is to be replaced."""


class PageServer(ServerProcess):
    """A server that restarts on the same port, so that pages reconnect to it."""

    def start(self) -> Self:
        super().start()
        self._command[self._command.index("--port") + 1] = str(self.port)
        return self

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Suspend the process: it reads and answers nothing, although the kernel still buffers what it receives."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def purge_all(self) -> None:
        """Delete all jobs, so that none is left in the queue or the list of the next test."""
        while jobs := self.request("GET", "/jobs?limit=200").json["jobs"]:
            for job in jobs:
                self.request("DELETE", f"/jobs/{job['jobId']}?purge=true")

    @contextmanager
    def recorded(self, type: str) -> Iterator[list[Any]]:
        """Every state that the stream of all jobs sends until a job of this type ends, read without the page."""
        states: list[Any] = []
        ready = threading.Event()

        def read() -> None:
            for event in self.events(f"/jobs/progress?type={type}"):
                if event.name == "ready":
                    ready.set()
                elif event.name is None:
                    states.append(event.data)
                    # Before "ready" come the jobs that ended in the last minute.
                    if event.data["completedAt"] and ready.is_set():
                        return

        reader = threading.Thread(target=read)
        reader.start()
        assert ready.wait(WAIT_TIMEOUT_S)
        yield states
        reader.join(WAIT_TIMEOUT_S)


class Tab:
    """A page and its console's errors, of which there must be none at the end of a test."""

    def __init__(self, page: Page, server: PageServer) -> None:
        self.page = page
        self.server = server
        self.complaints: list[str] = []
        self.expected: list[str] = []
        self._made_up: dict[str, Any] = {}
        page.add_init_script(OBSERVER)
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(f"uncaught: {error}"))

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.complaints.append(f"{message.text} ({message.location.get('url')})")

    def open(self, path: str = "/") -> Page:
        """The page, connected."""
        self.page.goto(self.server.url + path)
        expect(self.page.locator("#connection")).to_have_attribute("data-state", "live")
        return self.page

    def choose(self, title: str) -> None:
        """A job type in the form."""
        self.page.get_by_role("radio", name=re.compile(f"^{title}")).check()

    def serve(self, path: str, html: str) -> None:
        """Serves a page of another site on the server's origin."""
        self.page.route(self.server.url + path, lambda route: route.fulfill(content_type="text/html", body=html))

    def accept(self, *jobs: Any) -> None:
        """Show jobs that the server does not know, whose ids begin with `made-up`.

        The page asks the server for what its stream has not sent: it gets them.
        """
        if not self._made_up:
            made_up = re.compile(r"/jobs/(made-up[^/?]*)$")

            def answer(route: Route) -> None:
                found = made_up.search(route.request.url)
                assert found is not None
                route.fulfill(json=self._made_up[found[1]])

            self.page.route(made_up, answer)
        self._made_up |= {job["jobId"]: job for job in jobs}
        self.page.evaluate(ACCEPT, jobs)

    def shown(self, job_id: str) -> list[tuple[int, float]]:
        """The attempt and value of the job's bar, each time either changed."""
        entries = self.page.evaluate("window.shown")
        return [(entry["attempt"], float(entry["now"])) for entry in entries if entry["job"] == job_id]

    def unexpected(self) -> list[str]:
        return [text for text in self.complaints if not any(re.search(p, text) for p in self.expected)]


def scrolls_sideways(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth > innerWidth"))
