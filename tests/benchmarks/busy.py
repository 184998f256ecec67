"""Poll latency while one CPU-bound `def` job per core runs, against the same server when idle.

Idle and busy alternate, so that a machine that slows down slows both. One client polls a finished job over one
persistent connection at a steady rate instead of as fast as it can, as real clients do, which leaves the cores to the
jobs.
"""

import http.client
import os
import time
from statistics import median

from tests.support.process import ROOT, ServerProcess

from .report import Play, Table, percentile

POLLS = 1_500
PACE_S = 0.002
JOBS = ROOT / "tests" / "benchmarks" / "benchmark_jobs.py"


def run(play: Play) -> Table:
    cores = os.cpu_count() or 1
    table = Table(
        f"Poll latency in ms beside {cores} CPU-bound jobs on {cores} cores, {play.rounds} rounds of {POLLS:,} polls"
    )
    idle: list[list[float]] = []
    busy: list[list[float]] = []
    with ServerProcess(":memory:", "--jobs", str(JOBS)) as server:
        job_id = server.submit("noop")
        server.wait_for(job_id)
        _latencies(server, job_id)  # warm-up
        for _ in range(play.rounds):
            idle.append(_latencies(server, job_id))
            spinning = [server.submit("spin", {"cpu_s": 600}) for _ in range(cores)]
            for spin_id in spinning:
                next(state for state in server.states(spin_id) if state["done"])
            busy.append(_latencies(server, job_id))
            for spin_id in spinning:
                server.request("DELETE", f"/jobs/{spin_id}")
    for name, measured in (("idle", idle), ("busy", busy)):
        table.add(server=name, p50=_median(measured, 0.5), p99=_median(measured, 0.99))
    ratios = [percentile(b, 0.99) / percentile(i, 0.99) for i, b in zip(idle, busy, strict=True)]
    table.add(server="busy/idle", p50=_median(busy, 0.5) / _median(idle, 0.5), p99=median(ratios))
    return table


def _latencies(server: ServerProcess, job_id: str) -> list[float]:
    """Milliseconds from request to response, for each poll."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    measured = []
    for _ in range(POLLS):
        started = time.perf_counter()
        connection.request("GET", f"/jobs/{job_id}")
        response = connection.getresponse()
        response.read()
        measured.append((time.perf_counter() - started) * 1000)
        assert response.status == 200
        time.sleep(PACE_S)
    connection.close()
    return measured


def _median(rounds: list[list[float]], share: float) -> float:
    return median(percentile(measured, share) for measured in rounds)
