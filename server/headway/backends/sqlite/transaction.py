"""One transaction of the writer, as its operations see it."""

import sqlite3
import time
from collections.abc import Iterable, Sequence
from datetime import datetime

from ...domain.audit import Action, Actor, Entry
from ...domain.deliveries import WebhookEvent
from ...domain.filters import recorded_words
from ...domain.instants import to_ms
from ...domain.jobs import EVENT_OF, TERMINAL, TRANSITIONS, Job, NewJob, Status, Transition
from ...ports.actions import ACTION_TYPE
from ..memory.quotas import NO_KEY, Change, CountKey
from ..memory.running_limits import Group, RunningLimits
from ..memory.turns import Turns
from .announcing import Announcer
from .auditing.entries import entry_values, submitted_values
from .rows import Kept, Parameters, Row
from .statements import ENTERED, INSERT_AUDIT, SQL, in_statements

PROBED_BYTES = 64 * 1024
"""The room that a submission may need."""
NO_JOB = ""
"""The id under which the probe writes, which no job has."""
NO_CHANGE = (0, 0)
AT_A_STRETCH_S, PAUSE_S = 0.0001, 0.00001
"""How long an operation keeps the event loop waiting, and how long it then waits for it: with what Linux adds, 60 µs.
Another owner's poll, while an action cancelled jobs, took 2.0 ms (p99) without it, and takes 0.7 ms.
"""
QUEUED = Status.QUEUED.value
_COUNTED = {
    transition: (before, before.value, after.value, after in TERMINAL, EVENT_OF.get(after))
    for transition, (before, after) in TRANSITIONS.items()
}
"""The state before each transition; what jobs are counted as before and after it, as text, which hashes faster; whether
they have ended by it; and the event of it.
"""


class Transaction:
    """Executes statements, and notes what is written once for all operations when it commits.

    That is the counts of jobs (a row for each owner, key, type and status that changed, where triggers wrote two for
    each job), the states in their history and the entries of the audit trail (dozens of rows a statement), and the
    deliveries of webhooks.
    """

    __slots__ = (
        "_announced",
        "_announcer",
        "_connection",
        "_entered",
        "_since_s",
        "audited",
        "changes",
        "execute",
        "limits",
        "turns",
    )

    def __init__(
        self,
        connection: sqlite3.Connection,
        announcer: Announcer,
        turns: Turns | None = None,
        limits: RunningLimits | None = None,
    ) -> None:
        """`connection` is in a transaction."""
        self.execute = connection.execute
        self._connection = connection
        self._announcer = announcer
        self.turns = turns or Turns()
        self.limits = limits or RunningLimits()
        self.changes: dict[CountKey, Change] = {}
        """What has changed of the counts."""
        self._entered: list[tuple[object, ...]] = []
        self._announced: list[tuple[WebhookEvent, Job]] = []
        self._since_s = time.perf_counter()
        self.audited: list[Row] = []
        """Rows of the audit trail, written when the transaction commits."""

    def executemany(self, sql: str, parameters: Iterable[Parameters]) -> None:
        """Execute a statement once for each of the parameters."""
        self._connection.executemany(sql, parameters)

    def give_way(self) -> None:
        """Let the event loop run, between two pieces of a longer operation.

        SQLite runs without the interpreter lock, but for some microseconds at a time: the loop's thread, woken when the
        lock gets free, comes too late again and again, and each time begins anew to wait for the switch interval. It
        would wait for the whole transaction.
        """
        if time.perf_counter() - self._since_s > AT_A_STRETCH_S:
            time.sleep(PAUSE_S)
            self._since_s = time.perf_counter()

    def inserted(self, jobs: Sequence[NewJob], kept_bytes: int) -> None:
        """Jobs of one owner, key and type are inserted, which keep so much together.

        Their history is empty: that they are queued is implied.
        """
        first = jobs[0]
        self._count((first.owner, first.key_id or NO_KEY, first.type, QUEUED), len(jobs), kept_bytes)
        self.audited += [submitted_values(new.by, new) for new in jobs if new.by is not None]

    def next_turns(self, job_type: str, priority: int, owner: str, jobs: int = 1) -> int:
        """The turn of a job that falls due now, or the first of the turns of several."""
        return self.turns.next(job_type, priority, owner, self._first_turn, jobs)

    def _first_turn(self, job_type: str, priority: int) -> int | None:
        row = self.execute(SQL["first_turn"], {"type": job_type, "priority": priority}).fetchone()
        return None if row is None else row[0]

    def moved(self, transition: Transition, job: Job, kept: Kept, more_bytes: int = 0) -> Status:
        """A transition was performed, and `job` and `kept` are its result. Returns the state before it.

        `more_bytes`: what the job keeps since.
        """
        before, was, became, ended, event = _COUNTED[transition]
        if before is Status.RUNNING and self.limits.in_force and job.type != ACTION_TYPE:
            self.limits.ended(job.owner, kept.key_id)
        owner, job_type, (key_id, size_bytes, checkpoint_bytes) = job.owner, job.type, kept
        active_bytes = size_bytes + checkpoint_bytes
        self._count((owner, key_id, job_type, was), -1, more_bytes - active_bytes)
        self._count((owner, key_id, job_type, became), 1, size_bytes if ended else active_bytes)
        self._entered.append((job.id, job.state_seq, to_ms(job.updated_at), became, f"attempt {job.attempt}"))
        if ended and job.progress.message is not None:
            self.index_words(job, recorded_words(job))
        if job.webhook is not None and event is not None and job.announces(event):
            self.announce(event, job)
        return before

    def left_queue(self, job: Job, key_id: str, turn: int | None) -> None:
        """A queued job was cancelled: its turn goes to another. One that was not due yet had none."""
        self.turns.left(job.type, job.priority, job.owner, turn)
        if turn is not None and self.limits.in_force:
            self.limits.left(Group(job.owner, key_id, job.type), job.priority, parked=turn < 0)

    def grew(self, owner: str, job_type: str, status: Status, key_id: str, more_bytes: int) -> None:
        """A job keeps more bytes than before, or fewer, in the same state."""
        self._count((owner, key_id, job_type, status.value), 0, more_bytes)

    def announce(self, event: WebhookEvent, job: Job) -> None:
        """Put an event into the outbox: its delivery is committed with this transaction."""
        self._announced.append((event, job))

    def audit(self, entry: Entry) -> None:
        """Add an entry to the audit trail: it is committed with this transaction."""
        self.audited.append(entry_values(entry))

    def audit_job(self, by: Actor | None, at: datetime, action: Action, job: Job) -> None:
        """Add an entry about a job, unless nobody in particular did it."""
        if by is not None:
            self.audit(Entry(at, by, action, job.owner, job.id, job.type))

    def delete(self, job: Job, row: int | None = None) -> bool:
        """Delete the job, its history and attempts, and the deliveries that have ended. Pending ones are still sent.

        Returns whether it was there. One with a damaged id is not found by what was read of it, but by its `row`.
        """
        self._write_history()
        if job.webhook is not None:
            self.execute(SQL["delete_deliveries_of_job"], {"job_id": job.id})
        if job.files_total > len(job.files):
            self.execute(SQL["delete_output_files"], {"job_id": job.id})
        self.execute(SQL["delete_history"], {"job_id": job.id})
        if job.metadata:
            self.forget_metadata(job)
        if job.label is not None or job.progress.message is not None:
            self.forget_words(job)
        if job.attempt:
            self.execute(SQL["delete_attempts"], {"job_id": job.id})
        rows = self.execute(SQL["delete"], {"id": job.id}).fetchall()
        if not rows and row is not None:
            rows = self.execute(SQL["delete_row"], {"row": row}).fetchall()
        if not rows:
            return False
        kept = Kept.of(rows[0])
        size_bytes = kept.bytes if job.terminal else kept.bytes + kept.checkpoint_bytes
        self._count((job.owner, kept.key_id, job.type, job.status.value), -1, -size_bytes)
        return True

    def index_metadata(self, job: Job | NewJob) -> None:
        """Let lists find the job by its metadata."""
        self._connection.executemany(SQL["insert_metadata"], _pairs(job))

    def forget_metadata(self, job: Job) -> None:
        """Lists find the job by its metadata no longer."""
        self._connection.executemany(SQL["delete_metadata"], _pairs(job))

    def index_words(self, job: Job | NewJob, words: Iterable[str]) -> None:
        """Let lists find the job by these words."""
        self._connection.executemany(SQL["insert_word"], [(job.owner, word, job.id) for word in words])

    def forget_words(self, job: Job) -> None:
        """Lists find the job by its words no longer."""
        words = [(job.owner, word, job.id) for word in recorded_words(job)]
        self._connection.executemany(SQL["delete_word"], words)

    def output_bytes(self, job: Job) -> int:
        """What the job's result and output files keep."""
        files: int = sum(file.size_bytes for file in job.files)
        if job.files_total > len(job.files):
            files = self.execute(SQL["many_files_bytes"], {"job_id": job.id}).fetchone()[0]
        return files + (job.result_bytes or 0)

    def commit(self) -> None:
        """Write what was noted, then commit."""
        self._write_history()
        if self.changes:
            counts = [(*key, *change) for key, change in self.changes.items() if change != NO_CHANGE]
            self._connection.executemany(SQL["count"], counts)
        if self._announced:
            self._announcer.write(self.execute, self._announced)
        for statement, values in in_statements(INSERT_AUDIT, self.audited):
            self.execute(statement, values)
        self._connection.commit()
        self.turns.committed()
        self.limits.committed()

    def rollback(self) -> None:
        """Undo everything. It does nothing if SQLite has rolled back by itself, as on some errors."""
        self.turns.rolled_back()
        self.limits.rolled_back()
        self._connection.rollback()

    def _count(self, key: CountKey, more_jobs: int, more_bytes: int) -> None:
        jobs, size_bytes = self.changes.get(key, NO_CHANGE)
        self.changes[key] = (jobs + more_jobs, size_bytes + more_bytes)

    def _write_history(self) -> None:
        rows, self._entered = self._entered, []
        for statement, values in in_statements(ENTERED, rows):
            self.execute(statement, values)


def _pairs(job: Job | NewJob) -> list[Row]:
    return [(job.owner, name, value, job.id) for name, value in job.metadata]


def probe(tx: Transaction, now: datetime) -> None:
    """Write as much as a submission may need, and delete it again in the same transaction."""
    tx.execute(SQL["probe"], {"now": to_ms(now)})
    line = {"job_id": NO_JOB, "seq": 0, "at": to_ms(now), "kind": "log", "level": "info", "message": "." * PROBED_BYTES}
    tx.execute(SQL["insert_history"], line)
    tx.execute(SQL["delete_history"], {"job_id": NO_JOB})
