"""The record on disk, read with nothing but SQLite: what a killed or running server has really written."""

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

TERMINAL = frozenset({"completed", "failed", "cancelled"})
LEGAL = {
    "queued": frozenset({"running", "cancelled"}),
    "running": frozenset({"queued", *TERMINAL}),
    **dict.fromkeys(TERMINAL, frozenset[str]()),
}
"""The README's diagram as data, written down a second time on purpose."""


@dataclass
class Recorded:
    """One job's row, and its history."""

    status: str
    label: str | None
    attempt: int
    last_seq: int
    state_seq: int
    ended: bool
    seqs: list[int] = field(default_factory=list)
    states: list[tuple[int, str]] = field(default_factory=list)


@contextmanager
def snapshot(data_dir: Path) -> Iterator[sqlite3.Connection]:
    """Open a copy of the record of a dead or idle server, so that reading changes nothing."""
    with tempfile.TemporaryDirectory(prefix="headway-record-") as folder:
        copy = Path(folder) / "headway.db"
        for suffix in ("", "-wal"):
            with suppress(FileNotFoundError):
                shutil.copyfile(data_dir / f"headway.db{suffix}", f"{copy}{suffix}")
        with closing(sqlite3.connect(copy)) as connection:
            yield connection


def sound_record(data_dir: Path) -> dict[str, Recorded]:
    """Check everything that must hold at any moment, after a crash too. Returns all jobs by id."""
    with snapshot(data_dir) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        columns = "id, status, label, attempt, last_seq, state_seq, completed_at IS NOT NULL"
        jobs = {row[0]: Recorded(*row[1:]) for row in connection.execute(f"SELECT {columns} FROM jobs")}  # noqa: S608
        for job_id, seq, kind, level in connection.execute("SELECT job_id, seq, kind, level FROM history ORDER BY seq"):
            assert job_id in jobs, f"a history without its job: {job_id}"
            jobs[job_id].seqs.append(seq)
            if kind == "state":
                jobs[job_id].states.append((seq, level))
        counts = connection.execute(
            "SELECT owner, type, status, sum(jobs) FROM counts WHERE jobs <> 0 GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
        )
        counted = connection.execute("SELECT owner, type, status, count(*) FROM jobs GROUP BY 1, 2, 3 ORDER BY 1, 2, 3")
        assert counts.fetchall() == counted.fetchall()
    for job_id, job in jobs.items():
        _check_history(job_id, job)
    return jobs


def _check_history(job_id: str, job: Recorded) -> None:
    where = f"{job_id}: {job}"
    assert job.seqs == list(range(2, job.last_seq + 1)), where
    states = [(1, "queued"), *job.states]
    for (_, before), (_, after) in pairwise(states):
        assert after in LEGAL[before], where
    assert states[-1] == (job.state_seq, job.status), where
    assert sum(state == "running" for _, state in states) == job.attempt, where
    terminal = [seq for seq, state in states if state in TERMINAL]
    assert len(terminal) == (job.status in TERMINAL), where
    assert terminal in ([], [job.last_seq]), where
    assert job.ended == bool(terminal), where
