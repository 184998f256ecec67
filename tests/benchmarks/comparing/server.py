"""One server of a comparison: some commit's `run.py`, on the server's core, with a data directory of its own.

It relies only on what every commit has in common: `run.py --port 0 --data-dir … --jobs …`, a first line with the
address, and the HTTP interface.
"""

import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..processes import SERVER_CORE, on_core, raise_file_limit

JOBS = Path(__file__).with_name("compared_jobs.py")
LIMITS = {
    "HEADWAY_MAX_QUEUED": "10000000",
    "HEADWAY_MAX_STREAMS": "100000",
    "HEADWAY_MAX_STREAMS_PER_CLIENT": "100000",
}
TIME_LIMIT_S = 60.0
PAUSE_S = 0.02


class Server:
    """A running server."""

    def __init__(self, port: int, pid: int) -> None:
        self.port = port
        self.pid = pid

    def request(self, method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
        """The status and the JSON of the answer to one request, on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIME_LIMIT_S)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"} if body is not None else {})
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def submit(self, job_type: str, fields: dict[str, Any] | None = None) -> str:
        """Submit a job; its id."""
        status, answer = self.request("POST", f"/jobs/{job_type}", json.dumps(fields or {}).encode())
        assert status == 202, answer
        job_id: str = answer["jobId"]
        return job_id

    def wait_for(self, job_id: str, wanted: str) -> None:
        """Return once the job has this status."""
        end_s = time.monotonic() + TIME_LIMIT_S
        while (job := self.request("GET", f"/jobs/{job_id}")[1])["status"] != wanted:
            assert time.monotonic() < end_s, f"not {wanted} in time: {job}"
            time.sleep(PAUSE_S)

    def count(self, status: str) -> int:
        """How many jobs have this status."""
        found: int = self.request("GET", "/jobs/stats")[1]["byStatus"][status]
        return found


def slots(tree: Path, count: int) -> dict[str, str]:
    """The variable by which this many `async def` jobs run at once; older commits have one for both kinds of jobs."""
    has_own = any("max_tasks" in path.read_text("utf-8") for path in tree.glob("server/**/settings.py"))
    return {"HEADWAY_MAX_TASKS" if has_own else "HEADWAY_MAX_RUNNING": str(count)}


@contextmanager
def serving(tree: Path, disk: Path | None = None, **env: str) -> Iterator[Server]:
    """The server of a tree, with its data in this folder on the disk if given, else among temporary files."""
    raise_file_limit()
    with tempfile.TemporaryDirectory(dir=disk, prefix="headway-data-") as folder, tempfile.TemporaryFile() as log:
        command = [sys.executable, str(tree / "run.py"), "--port", "0", "--data-dir", folder, "--jobs", str(JOBS)]
        with on_core(SERVER_CORE):
            process = subprocess.Popen(
                command, cwd=tree, env={**os.environ, **LIMITS, **env}, stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            address = re.search(r"http://127\.0\.0\.1:(\d+)", line)
            assert address, f"the server did not start: {line!r}\n{os.pread(log.fileno(), 100_000, 0).decode()}"
            yield Server(int(address[1]), process.pid)
        finally:
            process.terminate()
            try:
                process.wait(TIME_LIMIT_S)
            finally:
                process.kill()
                process.wait()
                process.stdout.close()
