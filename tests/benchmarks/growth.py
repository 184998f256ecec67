"""The cost of a million finished jobs: submit, poll and list latency against a small file.

The small file holds just enough jobs for every list to fill a page; otherwise the ratio would be that of the lengths.
The jobs are inserted directly into the files. Large and small alternate in one run.
"""

import http.client
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from tests.support.ended_jobs import fill
from tests.support.process import ROOT, ServerProcess

from .report import Play, Table, percentile

JOBS = 1_000_000
FEW_JOBS = 5_000
REQUESTS = 200


def run(play: Play) -> Table:
    table = Table(
        f"{JOBS:,} finished jobs in the file against {FEW_JOBS:,}: median ms of {REQUESTS} requests, "
        f"{play.rounds} rounds"
    )
    with tempfile.TemporaryDirectory(dir=ROOT) as folder:
        full, few = Path(folder) / "full", Path(folder) / "few"
        fill(full, JOBS)
        fill(few, FEW_JOBS)
        measured: dict[str, tuple[list[float], list[float]]] = {}
        with ServerProcess(full) as big, ServerProcess(few) as small:
            job_id = {server.port: server.submit("lottery", {"draws": 1000}) for server in (big, small)}
            for server in (big, small):
                server.wait_for(job_id[server.port])
            for _ in range(play.rounds):
                for name, path in _requests().items():
                    for server, found in zip((big, small), measured.setdefault(name, ([], [])), strict=True):
                        found.append(latency_ms(server, path.replace("{id}", job_id[server.port])))
        for name, (with_all, with_none) in measured.items():
            ratios = [one / other for one, other in zip(with_all, with_none, strict=True)]
            table.add(request=name, full_ms=median(with_all), few_ms=median(with_none), full_by_few=median(ratios))
    most = max(row["full_by_few"] for row in table.rows)
    table.expect("growth: latency with all jobs by that with few, the worst request", most, at_most=1.2)
    return table


def _requests() -> dict[str, str]:
    """The requests by name; a path with the prefix `POST ` is a submission."""
    yesterday = (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    filters = {
        "list": "",
        "list, status": "status=failed",
        "list, type": "type=lottery",
        "list, type and status": "type=lottery&status=cancelled",
        "list, label": "label=label-77",
        "list, after": f"createdAfter={yesterday}",
        "list, before": f"createdBefore={yesterday}",
    }
    paths = {name: f"/jobs?limit=50&{query}" for name, query in filters.items()}
    return {"submit": "POST /jobs/lottery?runAt=2999-01-01T00:00:00Z", "poll": "/jobs/{id}", **paths}


def latency_ms(server: ServerProcess, path: str) -> float:
    """The median of `REQUESTS` requests over one connection. A path with the prefix `POST ` is a submission."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    method, path = ("POST", path[5:]) if path.startswith("POST ") else ("GET", path)
    latencies: list[float] = []
    for _ in range(REQUESTS):
        started_s = time.perf_counter()
        connection.request(method, path)
        response = connection.getresponse()
        response.read()
        latencies.append((time.perf_counter() - started_s) * 1000)
        assert response.status in (200, 202), response.status
    connection.close()
    return percentile(latencies, 0.5)
