"""The record of a running server, read beside it with nothing but SQLite and compared with what was promised."""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.kills.promises import Promised, Promises, Sent
from tests.support.record import TERMINAL

JOBS = "SELECT id, owner, key_id, type, status, label, attempt, version, started_at, retry_of, input FROM jobs"
AUDIT = (
    "SELECT seq, request_id, action, subject, outcome, actor_owner, key_id, owner, job_type FROM audit WHERE seq > ?"
)
ACTIVE_BYTES = "sum(bytes + iif(status IN ('queued', 'running'), checkpoint_bytes, 0))"
USED = f"""
SELECT owner, coalesce(key_id, ''), count(*), {ACTIVE_BYTES}, sum(status = 'queued'), sum(status = 'running')
FROM jobs GROUP BY 1, 2
"""  # noqa: S608 - no values
MISCOUNTED = f"""
SELECT owner, key_id, type, status, jobs, bytes FROM counts WHERE jobs <> 0 OR bytes <> 0
EXCEPT
SELECT owner, coalesce(key_id, ''), type, status, count(*), {ACTIVE_BYTES} FROM jobs GROUP BY 1, 2, 3, 4
"""  # noqa: S608


class Row(NamedTuple):
    id: str
    owner: str
    key_id: str
    type: str
    status: str
    label: str
    attempt: int
    version: int
    started_at: int | None
    retry_of: str | None
    input: str


class Used(NamedTuple):
    jobs: int = 0
    bytes: int = 0
    queued: int = 0
    running: int = 0


@contextmanager
def reading(data_dir: Path) -> Iterator[sqlite3.Connection]:
    """One moment of the record. The server goes on meanwhile."""
    with closing(sqlite3.connect(f"file:{data_dir}/headway.db?mode=ro", uri=True, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        yield connection


def used(connection: sqlite3.Connection) -> dict[tuple[str, str], Used]:
    """What each owner has, under an empty key, and what was submitted with each key."""
    found: dict[tuple[str, str], Used] = {}
    for owner, key_id, *numbers in connection.execute(USED):
        for holder in {(owner, ""), (owner, key_id)}:
            found[holder] = Used(*(a + b for a, b in zip(found.get(holder, Used()), numbers, strict=True)))
    return found


class RecordCheck:
    """Holds the record against the promises after each restart. It remembers how far it has read the audit trail."""

    def __init__(self, data_dir: Path, promises: Promises) -> None:
        self._data_dir = data_dir
        self._promises = promises
        self._last_seq = 0
        self._checked = 0
        self._audited: Counter[str] = Counter()
        self._ended_by: set[tuple[str | None, str]] = set()

    def check(self, started_ms: int) -> dict[str, Row]:
        """Check everything. No client acts meanwhile; jobs may run. `started_ms`: before the server was started."""
        with reading(self._data_dir) as connection:
            self._promises.expect(
                connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)], "the record is damaged"
            )
            miscounted = connection.execute(MISCOUNTED).fetchall()
            self._promises.expect(not miscounted, f"the counts are wrong: {miscounted}")
            rows = {row[0]: Row(*row) for row in connection.execute(JOBS)}
            self._check_audit(connection)
        for job in self._promises.jobs.values():
            self._check_job(job, rows.get(job.job_id))
        for row in rows.values():
            self._promises.expect(row.id in self._promises.jobs, f"{row.id}: nobody has submitted this job")
            if row.status == "running":
                fresh = row.started_at is not None and row.started_at >= started_ms
                self._promises.expect(fresh, f"{row.id}: still runs since before the server was killed")
        labels = Counter(row.label for row in rows.values() if row.retry_of is None)
        twice = [label for label, jobs in labels.items() if jobs > 1]
        self._promises.expect(not twice, f"submitted once, and there twice: {twice}")
        return rows

    def _check_job(self, job: Promised, row: Row | None) -> None:
        where = f"{job.job_id} ({job.order.type})"
        if row is None:
            self._promises.missing(job)
            return
        self._promises.expect(not job.gone, f"{where} was deleted, and is there")
        order = job.order
        given = (order.owner, order.key_id, order.type, order.label, order.retry_of)
        kept = (row.owner, row.key_id, row.type, row.label, row.retry_of)
        self._promises.expect(given == kept, f"{where}: {given} was submitted, {kept} is recorded")
        self._promises.expect(row.attempt >= job.attempt, f"{where}: attempt {row.attempt} after {job.attempt}")
        job.attempt = row.attempt
        if job.ended is not None:
            self._promises.expect(row.status == job.ended[0], f"{where} ended as {job.ended[0]}, and is {row.status}")
        if job.cancelled and row.status in TERMINAL:
            self._promises.expect(row.status == "cancelled", f"{where} was cancelled, and is {row.status}")

    # The audit trail

    def _check_audit(self, connection: sqlite3.Connection) -> None:
        """Each change that was acknowledged has one entry; one that was refused has none; others have one at most."""
        for seq, request_id, action, subject, outcome, *about in connection.execute(AUDIT, (self._last_seq,)):
            self._promises.expect(seq == self._last_seq + 1, f"entry {seq} of the trail follows {self._last_seq}")
            self._last_seq = seq
            sent = self._promises.sent.get(request_id)
            if outcome == "ok" and sent is not None:
                self._audited[request_id] += 1
                self._promises.expect(self._audited[request_id] == 1, f"{sent} is in the trail twice")
                self._ended_by.add((subject, action))
                self._promises.expect(action == sent.action, f"{request_id}: the trail says {action}")
                if sent.answer == "unknown":
                    self._identify(sent, subject, about)
        unchecked = list(self._promises.sent.values())[self._checked :]
        self._checked += len(unchecked)
        for sent in unchecked:
            entries = self._audited[sent.id]
            done = entries == 1 or self._repeats(sent)
            right = {"done": done, "nothing": entries == 0, "unknown": entries <= 1}[sent.answer]
            self._promises.expect(right, f"{sent}: {entries} entries in the trail")

    def _repeats(self, sent: Sent) -> bool:
        """Whether the trail says that an earlier request did the same: a repetition changes nothing."""
        covering = {"cancel": ("cancel", "delete")}.get(sent.action, (sent.action,))
        return any((sent.job_id, action) in self._ended_by for action in covering)

    def _identify(self, sent: Sent, subject: str, about: list[Any]) -> None:
        """A submission that was not answered has been carried out: the trail says with which job."""
        if sent.order is not None:
            order = sent.order
            expected = [order.owner, order.key_id, order.owner, order.type]
            self._promises.expect(about == expected, f"{sent.id}: the trail says {about}, not {expected}")
            self._promises.accepted(sent, subject)
        else:
            self._promises.expect(subject == sent.job_id, f"{sent}: the trail names {subject}")
            sent.answer = "done"
            job = self._promises.jobs[subject]
            job.cancelled |= sent.action == "cancel"
