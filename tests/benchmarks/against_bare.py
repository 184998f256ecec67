"""Headway against a bare aiohttp handler that returns the same bytes, in turn, each on a core of its own."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from tests.process import ROOT, ServerProcess

from .report import Play, Table

CONNECTIONS = 64
SECONDS = 3.0
JOBS = ROOT / "tests" / "benchmarks" / "benchmark_jobs.py"
HEADERS = "Host: localhost\r\nContent-Type: application/json\r\n"


def run_submit(play: Play) -> Table:
    """Durable submissions while nothing is claimed, on a real disk."""
    table = Table(f"Durable submissions a second, {CONNECTIONS} connections, claiming paused, {play.rounds} rounds")
    with tempfile.TemporaryDirectory(dir=ROOT) as folder, ServerProcess(folder, "--jobs", str(JOBS)) as server:
        pin(server.process.pid, 0)
        blocker = server.submit("one-slot", {"seconds": 3600})
        server.wait_for(blocker, "running")
        body = json.dumps({"seconds": 0}).encode()
        answer = server.request("POST", "/jobs/one-slot", body, {"Content-Type": "application/json"}).body
        request = f"POST /jobs/one-slot HTTP/1.1\r\n{HEADERS}Content-Length: {len(body)}\r\n\r\n".encode() + body
        _compare(table, server.port, request, answer, "202", play)
        table.rows[0]["queued"] = server.request("GET", "/jobs/stats").json["byStatus"]["queued"]
    return table


def run_poll(play: Play) -> Table:
    """Polls of one finished job, whole and as 304."""
    table = Table(f"Polls a second, {CONNECTIONS} connections, {play.rounds} rounds")
    with ServerProcess(":memory:", "--jobs", str(JOBS)) as server:
        pin(server.process.pid, 0)
        job_id = server.submit("one-slot", {"seconds": 0})
        server.wait_for(job_id)
        reply = server.request("GET", f"/jobs/{job_id}")
        request = f"GET /jobs/{job_id} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        _compare(table, server.port, request, reply.body, "200", play)
        unchanged = request[:-2] + f"If-None-Match: {reply.headers['ETag']}\r\n\r\n".encode()
        found = [load(server.port, unchanged) for _ in range(play.rounds)]
        assert all(set(one["statuses"]) == {"304"} for one in found)
        table.add(server="headway, 304", per_second=_median(found, "per_second"), p99_ms=_median(found, "p99_ms"))
    return table


def _compare(table: Table, port: int, request: bytes, answer: bytes, status: str, play: Play) -> None:
    ours: list[dict[str, Any]] = []
    theirs: list[dict[str, Any]] = []
    with bare(answer) as bare_port:
        for _ in range(play.rounds):
            theirs.append(load(bare_port, request))
            ours.append(load(port, request))
    assert all(set(one["statuses"]) == {status} for one in ours), ours
    for name, found in (("headway", ours), ("bare aiohttp", theirs)):
        figures = {figure: _median(found, figure) for figure in ("per_second", "p50_ms", "p99_ms")}
        table.add(server=name, **figures)
    ratios = [one["per_second"] / other["per_second"] for one, other in zip(ours, theirs, strict=True)]
    table.add(server="headway/bare", per_second=median(ratios))


def _median(found: list[dict[str, Any]], figure: str) -> float:
    return median(float(one[figure]) for one in found)


def load(port: int, request: bytes, *, connections: int = CONNECTIONS, seconds: float = SECONDS) -> dict[str, Any]:
    """One run of the load generator, on the last core."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.load", str(port), str(connections), str(seconds)],
        input=request, capture_output=True, check=True, cwd=ROOT, preexec_fn=lambda: pin(0, (os.cpu_count() or 1) - 1),
    )  # fmt: skip
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


@contextmanager
def bare(answer: bytes) -> Iterator[int]:
    """The bare server, on the first core; its port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.bare"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(answer)
    process.stdin.close()
    try:
        port = int(process.stdout.readline())
        pin(process.pid, 0)
        yield port
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def pin(pid: int, core: int) -> None:
    """Keep a process, with the threads it has, on one core."""
    os.sched_setaffinity(pid, {core})
    for thread in Path(f"/proc/{pid or 'self'}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core})
