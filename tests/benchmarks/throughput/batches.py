"""Jobs a second in batches of a thousand, against single submissions over 64 connections, on a real disk."""

import json
import tempfile
from typing import Any

from tests.support.process import ROOT

from ..report import Play, Table, median_of, median_ratio
from ..streams.sides import headway
from .asking import CONNECTIONS, SECONDS, Asked, Request, load

JOBS = 1_000
SENDERS = 2
"""Clients that send batches: the next one arrives while the last one is written."""
JSON = {"Content-Type": "application/json"}
AT_LEAST = 5.0


def run(play: Play, seconds: float = SECONDS, jobs: int = JOBS) -> Table:
    table = Table(f"Durable jobs a second, claiming paused, batches of {jobs:,}, {play.rounds} rounds")
    envelope = {"type": "one-slot", "input": {"seconds": 0}}
    batch = Request("POST", "/jobs/batch", JSON, json.dumps({"jobs": [envelope] * jobs}).encode())
    single = Request("POST", "/jobs/one-slot", JSON, json.dumps(envelope["input"]).encode())
    found: dict[str, list[dict[str, Any]]] = {"single": [], "batch": []}
    with tempfile.TemporaryDirectory(dir=ROOT) as folder, headway(folder, HEADWAY_MAX_QUEUED="10000000") as server:
        blocker = server.submit("one-slot", {"seconds": 3600})
        server.wait_for(blocker, "running")
        asked = Asked(server.port, server.process.pid)
        for _ in range(play.rounds):
            found["single"].append(load(asked, single, connections=CONNECTIONS, seconds=seconds))
            found["batch"].append(_by_job(load(asked, batch, connections=SENDERS, seconds=seconds), jobs))
        queued = server.request("GET", "/jobs/stats").json["byStatus"]["queued"]
    assert all(set(one["statuses"]) == {"202"} for one in found["single"]), found
    assert all(set(one["statuses"]) == {"200"} for one in found["batch"]), found
    accepted = sum(one["statuses"]["202"] for one in found["single"])
    accepted += jobs * sum(one["statuses"]["200"] for one in found["batch"])
    assert queued >= accepted, "an accepted job is missing"
    for name, rounds in found.items():
        figures = {figure: median_of(rounds, figure) for figure in ("per_second", "cpu_us_each", "p99_ms")}
        table.add(jobs_sent=name, connections=CONNECTIONS if name == "single" else SENDERS, **figures)
    ratio = median_ratio(found["batch"], found["single"], "per_second")
    table.expect("batch: durable jobs a second, in batches/single", ratio, at_least=AT_LEAST)
    return table


def _by_job(run: dict[str, Any], jobs: int) -> dict[str, Any]:
    return run | {"per_second": run["per_second"] * jobs, "cpu_us_each": run["cpu_us_each"] / jobs}
