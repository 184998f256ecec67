"""The seams: what the rooms promise each other. Adapters implement these; only `bootstrap` names adapters.

Every promise holds for several server processes on one record too, so no method may assume that its caller
sees only its own process. `caller` is the owner on whose behalf a client asks; a job of another owner is
`JobNotFoundError`, exactly like an unknown one, in the same time. For `EVERY_OWNER` there are the jobs of all.
Methods without `caller` are the server's own.

When an awaiting task is cancelled, an operation that was handed over is still carried out; only its answer
is lost. Where that matters the method says so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from ..domain.filters import JobFilter
from ..domain.idempotency import FirstSubmission, IdempotencyKey
from ..domain.jobs import Claim, Counts, Documents, Job, LogLine, NewJob, NewLogLine
from ..domain.outcomes import Outcome
from ..domain.progress import Progress


@dataclass(frozen=True, slots=True)
class Tick:
    """New progress of one running attempt."""

    job_id: str
    attempt: int
    progress: Progress


@dataclass(frozen=True, slots=True)
class LogBatch:
    """New log lines of one running attempt."""

    job_id: str
    attempt: int
    lines: Sequence[NewLogLine]


@dataclass(frozen=True, slots=True)
class Claims:
    """What a claim brought, and when the next job falls due (`None`: none waits for its time)."""

    claims: Sequence[Claim]
    next_run_at: datetime | None


@dataclass(frozen=True, slots=True)
class Page:
    """Some jobs, newest first, and where the next page begins (`None`: this was the last)."""

    jobs: Sequence[Job]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Recovery:
    """What was found running at start, by what became of it."""

    requeued: Sequence[Job]
    ended: Sequence[Job]


class JobStore(Protocol):
    """The record: every accepted job, its history and its outcome.

    Writes are atomic and durable on return (after power loss too, on an honest disk), but for `tick`.
    A write raises `StoreUnavailableError` if nothing of it was recorded. Reads see every write that returned
    before them. Each write rings the hub for the jobs that it changed, after its commit.
    """

    async def insert(self, new: NewJob, max_queued_of_type: int | None = None) -> Job:
        """Accept a job: record it as queued and enqueue it, in one step. Raises `QueueFullError`.

        The limits of all jobs that wait and of one owner's (`OwnersShareUsedUpError`) are the store's;
        `max_queued_of_type` limits those of the job's type.
        """
        ...

    async def insert_once(
        self, new: NewJob, key: IdempotencyKey, max_queued_of_type: int | None = None
    ) -> Job | FirstSubmission:
        """`insert`, unless `key.owner` has submitted with this key before and that has not expired at
        `new.created_at`: then what was first, whose request may have been another; a full queue does not matter.

        Key and job are recorded in one step, so of any number at once exactly one is accepted. Raises
        `QueueFullError`; then the key still stands for nothing.
        """
        ...

    async def first_with_key(self, caller: str, key: str, now: datetime) -> FirstSubmission | None:
        """What the caller's key stands for, also if the job has been deleted; `None` if it is free."""
        ...

    async def forget_keys(self, now: datetime, limit: int) -> int:
        """Delete at most `limit` idempotency keys that have expired; how many."""
        ...

    def check_room(self, owner: str, job_type: str, max_queued_of_type: int | None = None) -> None:
        """Raises `QueueFullError` if `insert` would now, with the time in which a place gets free, as jobs of
        late have taken. For a look before an upload is read; never blocks.
        """
        ...

    async def get(self, caller: str, job_id: str) -> Job:
        """The job now. Raises `JobNotFoundError`."""
        ...

    async def documents(self, caller: str, job_id: str) -> Documents:
        """Input and result. Raises `JobNotFoundError`."""
        ...

    def departed(self, caller: str, job_id: str) -> Job | None:
        """The last state of a job that was deleted a moment ago: for those who were watching it."""
        ...

    def known_foreign(self, caller: str, job_id: str) -> bool:
        """Whether it is known here, without looking, that the job is or was one that the caller does not see.

        For those who listen for changes: most are others'. Not for answers, whose haste would tell.
        """
        ...

    async def page(self, caller: str, filter: JobFilter, limit: int, cursor: str | None) -> Page:
        """Jobs, newest first, after `cursor`. Raises `ValueError` for a cursor that this store did not make."""
        ...

    async def active(self, caller: str, filter: JobFilter, limit: int, ended_since: datetime) -> Sequence[Job]:
        """At most `limit` active jobs, running ones first, then those that ended after `ended_since`."""
        ...

    async def counts(self, caller: str) -> Counts:
        """How many jobs there are, by type and status."""
        ...

    async def queue_position(self, job: Job, now: datetime) -> int | None:
        """The 1-based estimate of how many claims until this one; `None` beyond 1,000 or if not queued."""
        ...

    async def logs(self, job_id: str, after: int, up_to: int, limit: int) -> Sequence[LogLine]:
        """Log lines with `after < seq <= up_to`, oldest first, at most `limit`."""
        ...

    async def log_tail(self, job_id: str, up_to: int, limit: int) -> Sequence[LogLine]:
        """The last `limit` log lines with `seq <= up_to`, oldest first."""
        ...

    async def claim(self, free: Mapping[str, int], limit: int, now: datetime) -> Claims:
        """Take due jobs, by priority and then age: at most `limit`, and of each type at most `free[type]`.

        Each becomes running with a grown `attempt`, which fences off whoever held it before.
        """
        ...

    async def tick(self, ticks: Sequence[Tick], now: datetime) -> None:
        """Publish progress: visible at once, on disk within a second. An attempt that is not current is skipped."""
        ...

    async def append_logs(self, batches: Sequence[LogBatch]) -> None:
        """Number and record log lines. Those of an attempt that is not current are dropped."""
        ...

    async def checkpoint(self, job_id: str, attempt: int, checkpoint_json: str) -> None:
        """Record where an attempt stands. Raises `ClaimLostError`."""
        ...

    async def finish(
        self, job: Job, outcome: Outcome, progress: Progress, lines: Sequence[NewLogLine], now: datetime
    ) -> Job:
        """Record how an attempt ended, with its last progress and log lines, in one step.

        `job` names id and attempt. Commit order decides: if a cancel was recorded first, the outcome is
        cancelled, whatever `outcome` says; if a purge was, the job is deleted too. Returns the job as it then
        is (deleted: as it last was). Raises `ClaimLostError` if the attempt is not current.
        """
        ...

    async def request_cancel(self, caller: str, job_id: str, now: datetime, *, purge: bool = False) -> Job:
        """Record a cancel, or with `purge` a deletion. Returns the job as it then is (deleted: as it last was).

        A queued job is cancelled at once. A running one is marked, and the hub's `cancel` bell rings. Of a job
        that has ended, `purge` deletes it, and a plain cancel raises `JobStateError` unless it was cancelled.
        """
        ...

    async def delete_result(self, caller: str, job_id: str, now: datetime) -> Job:
        """Forget the result and the output files of a job that has ended, and keep its record.

        Raises `JobNotFoundError`, and `JobStateError` before the end.
        """
        ...

    async def expire(self, now: datetime, limit: int) -> int:
        """Delete at most `limit` jobs whose `expires_at` has passed; how many."""
        ...

    async def recover(self, now: datetime, max_recoveries: int, by_type: Mapping[str, int] = ...) -> Recovery:
        """At start: requeue what was running, or end it if a cancel was recorded or it crashed too often.

        `by_type` says otherwise than `max_recoveries` for some job types.
        """
        ...

    def median_run_s(self, job_type: str) -> float | None:
        """The median run time of the type's latest completed jobs, if it is known here. Never blocks."""
        ...

    async def existing(self, job_ids: Sequence[str]) -> frozenset[str]:
        """Which of these ids are jobs: the sweep of directories without a job asks."""
        ...

    async def check_writable(self) -> None:
        """Write something durably, or raise `StoreUnavailableError`."""
        ...


class Engine(Protocol):
    """Runs claimed jobs. Only runs: what is queued, and every outcome, stands in the store."""

    async def start(self) -> None:
        """Recover what a crash left, and begin to claim."""
        ...

    async def stop(self, grace_s: float) -> None:
        """Claim no more; stop the running attempts and requeue them; return within about `grace_s` seconds."""
        ...
