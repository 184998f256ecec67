"""The connection that writes. It collects what is written once for a whole transaction, with its commit."""

import sqlite3
from collections import Counter

from ...domain.deliveries import WebhookEvent
from ...domain.ids import JobIds
from ...domain.instants import to_ms
from ...domain.jobs import EVENT_OF, Job, Status
from . import deliveries
from .deliveries import BodyOf
from .statements import ENTERED, SQL, in_statements


class RecordConnection(sqlite3.Connection):
    """Takes note of jobs that come, move and go: their counts, the states in their history, and whom to tell of it.

    A row for each owner, type and status that changed, where triggers wrote two for each job, and one statement
    for dozens of rows of history.
    """

    body_of: BodyOf
    """Set by who opens the connection, before the first job that has a webhook moves."""
    _ids: JobIds | None = None
    _moved: Counter[tuple[str, str, str]] | None = None
    _entered: list[tuple[object, ...]] | None = None
    _announced: list[tuple[WebhookEvent, Job]] | None = None

    def came(self, owner: str, job_type: str, jobs: int = 1) -> None:
        """Jobs were inserted; being queued is implied, so their history is empty."""
        self._count(owner, job_type, Status.QUEUED, jobs)

    def moved(self, before: Status, job: Job) -> None:
        """The job has left `before` and entered the state in which it is now."""
        self._count(job.owner, job.type, before, -1)
        self._count(job.owner, job.type, job.status, 1)
        if self._entered is None:
            self._entered = []
        at = to_ms(job.updated_at)
        self._entered.append((job.id, job.state_seq, at, job.status.value, f"attempt {job.attempt}"))
        if job.webhook is not None and (event := EVENT_OF.get(job.status)) is not None and job.announces(event):
            self.announce(event, job)

    def announce(self, event: WebhookEvent, job: Job) -> None:
        """Somebody is to be told: it stands in the outbox once this transaction is committed."""
        if self._announced is None:
            self._announced = []
        self._announced.append((event, job))

    def deletes(self, job: Job) -> None:
        """The job's record is about to be deleted, with all of its history."""
        self._write_history()
        if job.webhook is not None:
            deliveries.delete_of_job(self, job)
        self._count(job.owner, job.type, job.status, -1)

    def commit(self) -> None:
        self._write_history()
        if self._moved:
            self.executemany(SQL["count"], [(*key, jobs) for key, jobs in self._moved.items() if jobs])
        if self._announced:
            self._write_deliveries(self._announced)
        super().commit()
        self._moved = self._announced = None

    def rollback(self) -> None:
        self._moved = self._entered = self._announced = None
        super().rollback()

    def _count(self, owner: str, job_type: str, status: Status, jobs: int) -> None:
        if self._moved is None:
            self._moved = Counter()
        self._moved[owner, job_type, status.value] += jobs

    def _write_history(self) -> None:
        rows, self._entered = self._entered, None
        for statement, values in in_statements(ENTERED, rows or ()):
            self.execute(statement, values)

    def _write_deliveries(self, announced: list[tuple[WebhookEvent, Job]]) -> None:
        if self._ids is None:
            self._ids = JobIds()
        deliveries.write(self, announced, self.body_of, self._ids)
