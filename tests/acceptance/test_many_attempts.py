"""Five thousand attempts of a `def` job leave nothing behind: no descriptor, process, file or memory."""

import http.client
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.process import ServerProcess, descendants, eventually
from tests.support.serving import Serving

JOBS = """
from headway import BlockingContext, job

@job("ends", retain_s=1)
def ends(ctx: BlockingContext) -> int:
    ctx.progress(1, 2, message="half way")
    ctx.log("a line")
    (ctx.work_dir / "left").write_text("work")
    return ctx.attempt

@job("ends-and-stays", retain_s=1, keep_process=True)
def ends_and_stays(ctx: BlockingContext) -> int:
    return ends(ctx)
"""
FEW, MANY = 500, 5_000
MOST_GROWTH_BYTES = 1024 * 1024
"""Of the processes that others are forked from."""
MOST_GROWTH_OF_THE_SERVER_BYTES = 24 * 1024 * 1024
"""It keeps the representations of 4,096 jobs, deleted ones among them, of some three kilobytes each."""
CLIENTS = 4
COME_AND_GO = 8
"""Descriptors of clients' connections and of spare children, and those children."""


class Watched:
    """What a server and its processes hold."""

    def __init__(self, server: ServerProcess, folder: Path) -> None:
        self._server = server
        self._folder = folder
        self._submitted = 0

    def run(self, job_type: str, count: int) -> None:
        """Run jobs until that many have run, and wait until nothing of them is left."""
        with ThreadPoolExecutor(CLIENTS) as clients:
            share = (count - self._submitted) // CLIENTS
            for future in [clients.submit(self._ask, job_type, share) for _ in range(CLIENTS)]:
                future.result()
        self._submitted = count
        eventually(lambda: self._server.request("GET", "/jobs").json["jobs"] == [])
        eventually(lambda: not any((self._folder / "jobs").rglob("*")))

    def _ask(self, job_type: str, count: int) -> None:
        """Submit one job after the other, each once the last has ended."""
        headers = {"Content-Type": "application/json", "Prefer": "wait=60"}
        connection = http.client.HTTPConnection("127.0.0.1", self._server.port)
        for _ in range(count):
            connection.request("POST", f"/jobs/{job_type}", b"{}", headers)
            response = connection.getresponse()
            answer = json.loads(response.read())
            assert answer["status"] == "completed", (response.status, answer)
        connection.close()

    @property
    def lasting(self) -> Sequence[int]:
        """The server, and the processes that outlive jobs: those that others are forked from."""
        return [self._server.process.pid, *(pid for pid in descendants(self._server.process.pid) if _has_children(pid))]

    def descriptors(self) -> list[int]:
        return [len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in self.lasting]

    def processes(self) -> int:
        return len(descendants(self._server.process.pid))

    def private_bytes(self) -> list[int]:
        return [_private_bytes(pid) for pid in self.lasting]


def _has_children(pid: int) -> bool:
    return bool(Path(f"/proc/{pid}/task/{pid}/children").read_text())


def _private_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith(("Private_", "Swap:")))


@pytest.mark.slow
@pytest.mark.parametrize("job_type", ["ends", "ends-and-stays"])
def test_five_thousand_attempts_leave_nothing_behind(serving: Serving, tmp_path: Path, job_type: str) -> None:
    jobs, folder = tmp_path / "ending_jobs.py", tmp_path / "data"
    jobs.write_text(JOBS, "utf-8")
    limits = {"HEADWAY_SUBMISSIONS_PER_MINUTE": "0", "HEADWAY_MAX_QUEUED": "10000", "HEADWAY_MAX_PROCESSES": "4"}
    watched = Watched(serving(folder, "--jobs", str(jobs), env=limits), folder)
    watched.run(job_type, FEW)
    descriptors, processes, before_bytes = watched.descriptors(), watched.processes(), watched.private_bytes()
    watched.run(job_type, MANY)
    eventually(lambda: max(watched.descriptors()) <= max(descriptors) + COME_AND_GO)
    eventually(lambda: watched.processes() <= processes + COME_AND_GO)
    server, *others = (after - before for before, after in zip(before_bytes, watched.private_bytes(), strict=True))
    assert server < MOST_GROWTH_OF_THE_SERVER_BYTES
    assert max(others) < MOST_GROWTH_BYTES
