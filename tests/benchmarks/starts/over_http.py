"""Headway as its clients see it: a POST with `Prefer: wait`, whose response is the finished job."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from aiohttp import ClientSession, TCPConnector

from tests.support.process import ROOT, ServerProcess, eventually

from ..throughput.asking import Request

JOBS = Path(__file__).parent
NOTHING: Mapping[str, str] = MappingProxyType({})
WAIT = {"Prefer": "wait=50"}


class OfTree(ServerProcess):
    """A server of some commit's tree."""

    def __init__(self, tree: Path, *arguments: Any, **options: Any) -> None:
        self.script = tree / "run.py"
        super().__init__(*arguments, **options)


@contextmanager
def serving(*modules: str, env: Mapping[str, str] = NOTHING, tree: Path = ROOT) -> Iterator[ServerProcess]:
    """A server in a new interpreter, with its data on a real disk, and these modules of this folder."""
    arguments = [argument for name in modules for argument in ("--jobs", str(JOBS / f"{name}.py"))]
    with (
        tempfile.TemporaryDirectory(dir=ROOT) as folder,
        OfTree(tree, folder, *arguments, env={"HEADWAY_SAMPLES": "false", **env}, from_scratch=True) as server,
    ):
        yield server


def closed_loop(server: ServerProcess, job_type: str, clients: int, seconds: float) -> dict[str, float]:
    """Clients that each wait for their job's end before they submit the next one: jobs a second, and milliseconds."""
    request = Request("POST", f"/jobs/{job_type}", {"Content-Type": "application/json", **WAIT}, b"{}")
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.throughput.load", str(server.port), str(clients), str(seconds)],
        input=request.raw(), stdout=subprocess.PIPE, check=True, cwd=ROOT,
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert set(found["statuses"]) == {"200"}, found  # 202: not done in time
    eventually(lambda: _unfinished(server) == 0, "not all jobs were done")  # those whose clients left at the end
    assert server.request("GET", "/jobs/stats").json["byStatus"]["failed"] == 0
    return {"p50_ms": found["p50_ms"], "per_second": found["per_second"]}


def _unfinished(server: ServerProcess) -> int:
    counts = server.request("GET", "/jobs/stats").json["byStatus"]
    return int(counts["queued"] + counts["running"])


def seconds_for(server: ServerProcess, job_type: str, count: int) -> float:
    """The seconds until this many jobs, submitted at once, are all completed."""
    return asyncio.run(_seconds_for(server.port, job_type, count))


async def _seconds_for(port: int, job_type: str, count: int) -> float:
    async with ClientSession(f"http://127.0.0.1:{port}", connector=TCPConnector(limit=0)) as session:
        began_s = time.perf_counter()
        ends = await asyncio.gather(*(_end(session, job_type) for _ in range(count)))
        taken_s = time.perf_counter() - began_s
    assert ends == ["completed"] * count, ends
    return taken_s


async def _end(session: ClientSession, job_type: str) -> str:
    """Submit a job and wait for its end; its status then."""
    async with session.post(f"/jobs/{job_type}", json={}, headers=WAIT) as response:
        status, job = response.status, await response.json()
    while status == 202:
        async with session.get(job["statusUrl"], headers=WAIT) as response:
            status, job = response.status, await response.json()
    assert status == 200, job
    ended: str = job["status"]
    return ended


def cores() -> int:
    """How many processes run at once, on each side: the server's own default."""
    return len(os.sched_getaffinity(0))
