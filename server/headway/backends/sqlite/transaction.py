"""One transaction of the writer, as its operations see it."""

import sqlite3
from collections import Counter
from collections.abc import Iterable

from ...domain.deliveries import WebhookEvent
from ...domain.instants import to_ms
from ...domain.jobs import EVENT_OF, TRANSITIONS, Job, Status, Transition
from .announcing import Announcer
from .rows import Parameters
from .statements import ENTERED, SQL, in_statements


class Transaction:
    """Executes statements, and notes what is written once for all operations when it commits.

    That is the counts of jobs (a row for each owner, type and status that changed, where triggers wrote two for each
    job), the states in their history (dozens of rows a statement) and the deliveries of webhooks.
    """

    __slots__ = ("_announced", "_announcer", "_connection", "_counts", "_entered", "execute")

    def __init__(self, connection: sqlite3.Connection, announcer: Announcer) -> None:
        """`connection` is in a transaction."""
        self.execute = connection.execute
        self._connection = connection
        self._announcer = announcer
        self._counts: Counter[tuple[str, str, Status]] = Counter()
        self._entered: list[tuple[object, ...]] = []
        self._announced: list[tuple[WebhookEvent, Job]] = []

    def executemany(self, sql: str, parameters: Iterable[Parameters]) -> None:
        """Execute a statement once for each of the parameters."""
        self._connection.executemany(sql, parameters)

    def inserted(self, owner: str, job_type: str, jobs: int = 1) -> None:
        """Jobs were inserted. Their history is empty: that they are queued is implied."""
        self._count(owner, job_type, Status.QUEUED, jobs)

    def moved(self, transition: Transition, job: Job) -> Status:
        """A transition was performed, and `job` is its result. Returns the state before it."""
        before = TRANSITIONS[transition][0]
        self._count(job.owner, job.type, before, -1)
        self._count(job.owner, job.type, job.status, 1)
        at = to_ms(job.updated_at)
        self._entered.append((job.id, job.state_seq, at, job.status.value, f"attempt {job.attempt}"))
        if job.webhook is not None and (event := EVENT_OF.get(job.status)) is not None and job.announces(event):
            self.announce(event, job)
        return before

    def announce(self, event: WebhookEvent, job: Job) -> None:
        """Put an event into the outbox: its delivery is committed with this transaction."""
        self._announced.append((event, job))

    def delete(self, job: Job) -> None:
        """Delete the job, its history and attempts, and the deliveries that have ended. Pending ones are still sent."""
        self._write_history()
        if job.webhook is not None:
            self.execute(SQL["delete_deliveries_of_job"], {"job_id": job.id})
        if job.files_total > len(job.files):
            self.execute(SQL["delete_output_files"], {"job_id": job.id})
        self.execute(SQL["delete_history"], {"job_id": job.id})
        if job.attempt:
            self.execute(SQL["delete_attempts"], {"job_id": job.id})
        self.execute(SQL["delete"], {"id": job.id})
        self._count(job.owner, job.type, job.status, -1)

    def commit(self) -> None:
        """Write what was noted, then commit."""
        self._write_history()
        if self._counts:
            counts = [(*key, status.value, jobs) for (*key, status), jobs in self._counts.items() if jobs]
            self._connection.executemany(SQL["count"], counts)
        if self._announced:
            self._announcer.write(self.execute, self._announced)
        self._connection.commit()

    def rollback(self) -> None:
        """Undo everything. It does nothing if SQLite has rolled back by itself, as on some errors."""
        self._connection.rollback()

    def _count(self, owner: str, job_type: str, status: Status, jobs: int) -> None:
        self._counts[owner, job_type, status] += jobs

    def _write_history(self) -> None:
        rows, self._entered = self._entered, []
        for statement, values in in_statements(ENTERED, rows):
            self.execute(statement, values)
