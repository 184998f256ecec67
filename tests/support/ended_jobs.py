"""Data directories that are full of jobs that have ended, as if a server had run them: rows inserted in bulk.

Such a job has its history, and some have the rest: a label, an error, a result, files, a delivery and an idempotency
key. What a server would have deleted by now is there too, as it is after a long time without one.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

from headway.backends.sqlite.opening.connection import open_writer
from headway.domain.ids import JobIds
from headway.domain.instants import to_ms

TYPES = ("weather", "lottery", "csv-report", "csv-import")
ENDS = ("completed",) * 8 + ("failed", "cancelled")
RUN_MS = 900
ROWS_AT_ONCE = 10_000
KEPT_MS = 31_536_000_000
JOB = """
INSERT INTO jobs (id, owner, type, label, status, priority, created_at, run_at, started_at, updated_at, completed_at,
                  expires_at, attempt, max_attempts, retain_s, last_seq, state_seq, version, error, input, result,
                  result_bytes)
VALUES (:id, 'local', :type, :label, :status, 0, :at, :at, :at, :ended, :ended, :expires, 1, 1, 31536000, 4, 4, 4,
        :error, '{}', :result, :bytes)
"""
HISTORY = """
INSERT INTO history (job_id, seq, at, kind, level, message) VALUES
    (:id, 2, :at, 'state', 'running', 'attempt 1'),
    (:id, 3, :at, 'log', 'info', 'half of it is done'),
    (:id, 4, :ended, 'state', :status, 'attempt 1')
"""
DELIVERY = """
INSERT INTO deliveries (id, job_id, owner, event, url, host, status, due_at, attempts, tries, created_at,
                        last_attempt_at, ended_at, last_status, body)
VALUES (:id, :id, 'local', 'job.ended', 'https://receiver.example/', 'receiver.example', 'delivered', :ended, 1, 1,
        :ended, :ended, :now, 200, '{}')
"""
KEY = (
    "INSERT INTO idempotency_keys (owner, key, fingerprint, job_id, expires_at) VALUES ('local', :id, 'f', :id, :ended)"
)
ERROR = '{"type": "about:blank", "title": "No luck", "detail": null, "status": 500}'
COUNTS = "INSERT INTO counts SELECT owner, '', type, status, count(*), sum(bytes) FROM jobs GROUP BY 1, 3, 4"

Ended = dict[str, str | int | None]


def fill(folder: Path, jobs: int, *, expired: int = 0, with_files: int = 0) -> None:
    """Create a data directory with `jobs` jobs that ended during the last thirty days.

    The first `expired` of them should have been deleted a day ago, and the last `with_files` have output on disk.
    """
    (folder / "jobs").mkdir(parents=True)
    with closing(open_writer(folder / "headway.db")) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        rows = _ended(jobs, expired)
        while batch := list(islice(rows, ROWS_AT_ONCE)):
            _insert(connection, batch)
        connection.execute(COUNTS)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        newest = connection.execute("SELECT id FROM jobs ORDER BY id DESC LIMIT ?", (with_files,)).fetchall()
    for (job_id,) in newest:
        files = folder / "jobs" / job_id / "files"
        files.mkdir(parents=True)
        (files / "report.txt").touch()


def _insert(connection: sqlite3.Connection, batch: list[Ended]) -> None:
    connection.execute("BEGIN")
    connection.executemany(JOB, batch)
    connection.executemany(HISTORY, batch)
    connection.executemany(DELIVERY, batch[::20])
    connection.executemany(KEY, batch[::10])
    connection.execute("COMMIT")


def _ended(jobs: int, expired: int) -> Iterator[Ended]:
    """The parameters of each job's rows, oldest first."""
    ids = JobIds()
    now = datetime.now(UTC)
    first = now - timedelta(days=30)
    step = timedelta(days=29) / max(1, jobs)
    a_day_ago_ms = to_ms(now - timedelta(days=1))
    for number in range(jobs):
        job_id, created_at = ids.new(first + step * number)
        ms = to_ms(created_at)
        status = ENDS[number % 10 if number % 7 else 9]
        completed = status == "completed"
        yield {
            "id": job_id,
            "type": TYPES[number % 4],
            "label": f"label-{number % 5000}" if number % 10 == 0 else None,
            "status": status,
            "at": ms,
            "ended": ms + RUN_MS,
            "expires": a_day_ago_ms if number < expired else ms + KEPT_MS,
            "error": ERROR if status == "failed" else None,
            "result": "null" if completed else None,
            "bytes": 4 if completed else None,
            "now": to_ms(now),
        }
