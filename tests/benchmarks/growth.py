"""The cost of a million finished jobs: submit, poll and list latency against a small file, and start-up time.

The small file holds just enough jobs for every list to fill a page; otherwise the ratio would be that of the lengths.
The jobs are inserted directly into the files. Large and small alternate in one run.
"""

import http.client
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from headway.domain.ids import JobIds
from headway.domain.instants import to_ms

from tests.support.process import ROOT, ServerProcess

from .report import Play, Table, percentile

JOBS = 1_000_000
FEW_JOBS = 5_000
REQUESTS = 200
TYPES = ("weather", "lottery", "csv-report", "csv-import")
ENDS = ("completed",) * 8 + ("failed", "cancelled")
INSERT = """
INSERT INTO jobs (id, owner, type, label, status, priority, created_at, run_at, started_at, updated_at, completed_at,
                  expires_at, attempt, max_attempts, retain_s, last_seq, state_seq, version, input, result,
                  result_bytes)
VALUES (?, 'local', ?, ?, ?, 0, ?, ?, ?, ?, ?, ?, 1, 1, 31536000, 3, 3, 3, '{}', 'null', 4)
"""


def run(play: Play) -> Table:
    table = Table(
        f"{JOBS:,} finished jobs in the file against {FEW_JOBS:,}: median ms of {REQUESTS} requests, "
        f"{play.rounds} rounds"
    )
    with tempfile.TemporaryDirectory(dir=ROOT) as folder:
        full, few = Path(folder) / "full", Path(folder) / "few"
        _fill(full, JOBS)
        _fill(few, FEW_JOBS)
        started_s: list[float] = []
        few_started_s: list[float] = []
        measured: dict[str, tuple[list[float], list[float]]] = {}
        with _started(full, started_s) as big, _started(few, few_started_s) as small:
            job_id = {server.port: server.submit("lottery", {"draws": 1000}) for server in (big, small)}
            for server in (big, small):
                server.wait_for(job_id[server.port])
            for _ in range(play.rounds):
                for name, path in _requests().items():
                    for server, found in zip((big, small), measured.setdefault(name, ([], [])), strict=True):
                        found.append(_latency_ms(server, path.replace("{id}", job_id[server.port])))
        for name, (with_all, with_none) in measured.items():
            ratios = [one / other for one, other in zip(with_all, with_none, strict=True)]
            table.add(request=name, full_ms=median(with_all), few_ms=median(with_none), full_by_few=median(ratios))
        table.add(request="start-up, s", full_ms=started_s[0], few_ms=few_started_s[0])
    most = max(row["full_by_few"] for row in table.rows if "full_by_few" in row)
    table.expect("growth: latency with all jobs by that with few, the worst request", most, at_most=1.2)
    table.expect("growth: start-up with all jobs, s", started_s[0], at_most=1.5)
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


def _latency_ms(server: ServerProcess, path: str) -> float:
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


def _fill(folder: Path, jobs: int) -> None:
    """Create a file with this many jobs, which ended during the last thirty days."""
    with ServerProcess(folder) as server:
        assert server.stop() == 0
    ids = JobIds()
    first = datetime.now(UTC) - timedelta(days=30)
    step = timedelta(days=29) / jobs

    def rows() -> Iterator[tuple[object, ...]]:
        for number in range(jobs):
            job_id, at = ids.new(first + step * number)
            ms = to_ms(at)
            label = f"label-{number % 5000}" if number % 10 == 0 else None
            status = ENDS[number % 10 if number % 7 else 9]
            yield (job_id, TYPES[number % 4], label, status, ms, ms, ms, ms + 900, ms + 900, ms + 31_536_000_000)

    with closing(sqlite3.connect(folder / "headway.db", isolation_level=None)) as connection:
        connection.execute("BEGIN")
        connection.executemany(INSERT, rows())
        connection.execute("INSERT INTO counts SELECT owner, type, status, count(*) FROM jobs GROUP BY 1, 2, 3")
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@contextmanager
def _started(folder: Path, seconds: list[float]) -> Iterator[ServerProcess]:
    started_s = time.perf_counter()
    with ServerProcess(folder) as server:
        seconds.append(time.perf_counter() - started_s)
        yield server
