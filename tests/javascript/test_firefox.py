"""The client and the element in Firefox, from a page on another origin. Firefox needs no driver: the page reports."""

import json
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import JOBS
from tests.javascript.test_package import USED
from tests.support.node import run
from tests.support.process import WAIT_TIMEOUT_S, ServerProcess
from tests.support.threaded import ThreadedServer

FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")

PAGE = """<!doctype html><title>Theirs</title><link rel="icon" href="data:,"><script type="module">
import { use } from "/use.js";
import { Client } from "HEADWAY/static/headway.js";
import "HEADWAY/static/headway-progress.js";
const tell = (told) => fetch("/told", { method: "POST", body: JSON.stringify(told) });
try {
  const jobs = await Promise.all(Array.from({ length: 10 }, () => new Client("HEADWAY").submit("steady")));
  const ends = jobs.map((job) => new Promise((ended) => {
    const element = document.createElement("headway-progress");
    element.addEventListener("end", ended);
    element.job = `HEADWAY/${job.path}`;
    document.body.append(element);
  }));
  await Promise.all(ends);
  const completed = document.querySelectorAll("headway-progress:state(completed)").length;
  await tell({ used: await use("HEADWAY"), completed });
} catch (error) {
  await tell({ error: `${error} ${error.stack}` });
}
</script>"""


class Site(ThreadedServer):
    """The page, and what it tells."""

    def __init__(self) -> None:
        self.files: dict[str, tuple[str, str]] = {}
        self.told: Any = None
        self.done = threading.Event()
        super().__init__(type("Handler", (_Handler,), {"site": self}))


class _Handler(BaseHTTPRequestHandler):
    site: Site

    def do_GET(self) -> None:  # as the base class calls it
        content_type, text = self.site.files[self.path]
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.end_headers()
        self.wfile.write(text.encode())

    def do_POST(self) -> None:  # as the base class calls it
        self.site.told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(204)
        self.end_headers()
        self.site.done.set()

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: the test checks what the page tells."""


@pytest.mark.skipif(FIREFOX is None, reason="there is no Firefox (apt-get install firefox-esr)")
def test_the_client_and_the_element_work_in_firefox(workshop: Path, tmp_path: Path) -> None:
    run(workshop, "npx", "tsc", "-p", ".")
    with Site() as site, ServerProcess(
        ":memory:", "--jobs", str(JOBS), env={"HEADWAY_CORS_ORIGINS": f"http://127.0.0.1:{site.port}"}
    ) as server:  # fmt: skip
        url = f"http://127.0.0.1:{server.port}"
        module = (workshop / "out/use.js").read_text("utf-8").replace("@headway/client", f"{url}/static/headway.js")
        site.files = {"/": ("text/html", PAGE.replace("HEADWAY", url)), "/use.js": ("text/javascript", module)}
        command = [str(FIREFOX), "--headless", "--no-remote", "--profile", str(tmp_path)]
        with subprocess.Popen(
            [*command, f"http://127.0.0.1:{site.port}/"],
            env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as firefox:
            site.done.wait(WAIT_TIMEOUT_S)
            firefox.terminate()
    assert site.told == {"used": USED, "completed": 10}
