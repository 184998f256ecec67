"""The record of jobs, as one small protocol for each kind of use. `JobStore` is all of them.

Take the smallest protocol that serves. Every promise also holds for several server processes on one record, so no
method may assume that its caller sees only its own process.

`caller` is an owner, or `EVERY_OWNER`. Another owner's job raises `JobNotFoundError`, exactly like an unknown one and
in the same time. Methods without `caller` are the server's own.

Writes are atomic, and durable when they return (power loss included, on a disk that syncs honestly); `tick` is the
exception. With `by`, a write that changes something adds an entry to the audit trail in the same step; a submission
has it in `NewJob.by`. A write raises `StoreUnavailableError` if nothing of it was recorded. Reads see every write that
returned before them. After its commit, a write rings the bells of the jobs that it changed.

If an awaiting task is cancelled, an operation that was handed over is still carried out; only its result is lost.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol, overload

from ..domain.attempts import PastAttempt, Usage
from ..domain.audit import Actor
from ..domain.filters import NEWEST_FIRST, JobFilter, Order
from ..domain.idempotency import FirstSubmission, IdempotencyKey
from ..domain.jobs import Claim, Counts, Documents, Job, LiveJob, LogLine, NewJob, NewLogLine, OutputFile
from ..domain.outcomes import Outcome
from ..domain.progress import Progress
from ..errors import QueueFullError, QuotaExceededError
from ..quotas import Account
from .editing import Editing
from .housekeeping import Housekeeping
from .reservations import Reservations


class Hold(Protocol):
    """Room in quotas that is held for something on its way to the record. Nothing of it blocks."""

    def grow(self, more_bytes: int) -> None:
        """Hold more. Raises `StorageQuotaExceededError` if that does not fit, and holds no more then."""
        ...

    def release(self) -> None:
        """Hold nothing any more. May be called twice."""
        ...


class Tick(NamedTuple):
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
class FreeSlots:
    """The free slots of one pool: of those for tasks, say, or of those for processes. A type's jobs use one pool."""

    total: int
    """How many jobs may begin in the pool, whatever their types."""
    of_type: Mapping[str, int]
    """How many of each type may. Other types use another pool, or cannot run here."""


@dataclass(frozen=True, slots=True)
class Claims:
    """The jobs that were claimed, and when the next one falls due (`None`: none is waiting for its time)."""

    claims: Sequence[Claim]
    next_run_at: datetime | None


@dataclass(frozen=True, slots=True)
class Page:
    """Some jobs in the order of a list, and the cursor of the next page (`None`: this was the last).

    It can have fewer jobs than were asked for, or none, although more follow.
    """

    jobs: Sequence[Job]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class IdPage:
    """As `Page`, but with each job's id and type alone."""

    jobs: Sequence[tuple[str, str]]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class FilePage:
    """Some output files of a job, by name, and the cursor of the next page (`None`: this was the last)."""

    files: Sequence[OutputFile]
    next_cursor: str | None


Refusal = QueueFullError | QuotaExceededError
"""Why there is no room for a job of a batch."""

Outcomes = Callable[[Sequence[Refusal | None]], str]
"""Makes JSON text of a batch's outcomes: of each job `None` if there is room for it, or the refusal."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """The jobs that were running when the last server stopped: back in the queue, or ended."""

    requeued: Sequence[Job]
    ended: Sequence[Job]


class Submissions(Protocol):
    """Accepting jobs, once each."""

    def check_room(
        self,
        owner: str,
        job_type: str,
        max_queued_of_type: int | None = None,
        key_id: str | None = None,
        size_bytes: int = 0,
    ) -> None:
        """Raise `QueueFullError` or `QuotaExceededError` if `insert` would, for a job that keeps `size_bytes`.

        It allows a submission to be refused before its upload is read. Never blocks.
        """
        ...

    def hold(self, owner: str, key_id: str | None) -> Hold:
        """A hold on the owner's and the key's quotas, empty at first, for an upload that is under way. Never blocks."""
        ...

    @overload
    async def insert(self, new: NewJob, max_queued_of_type: int | None = None) -> Job: ...

    @overload
    async def insert(
        self, new: NewJob, max_queued_of_type: int | None = None, key: IdempotencyKey | None = None
    ) -> Job | FirstSubmission: ...

    async def insert(
        self, new: NewJob, max_queued_of_type: int | None = None, key: IdempotencyKey | None = None
    ) -> Job | FirstSubmission:
        """Record a job as queued. Raises `QueueFullError`, and `QuotaExceededError` if a quota has no room for it.

        The limits on all queued jobs and on one owner's (`OwnerQueueFullError`) belong to the store;
        `max_queued_of_type` limits the job's type.

        With `key`: if `key.owner` has already submitted with this key, and it has not expired at `new.created_at`,
        nothing is recorded and the first submission is returned, even if its request was different or the queue is
        full. Key and job are recorded in one step, so of any number of simultaneous calls exactly one is accepted. A
        refused submission leaves the key unused.
        """
        ...

    async def insert_batch(
        self, batch: Sequence[tuple[NewJob, int | None]], outcomes: Outcomes, key: IdempotencyKey | None = None
    ) -> str | FirstSubmission:
        """Record jobs of one owner and API key as queued, in one step: after a crash all of them are there, or none.

        Each comes with the limit of its type, and is recorded or refused as if `insert` were called for one after the
        other. Returns what `outcomes` makes of that, which is called once, before anything is written.

        With `key`: as for `insert`, and the text of the outcomes is recorded with it. If no job is recorded, the key
        stays unused.
        """
        ...

    async def first_with_key(self, caller: str, key: str, now: datetime) -> FirstSubmission | None:
        """The submission that the caller's key stands for, even if its job is gone; `None` if the key is free."""
        ...


class Reader(Protocol):
    """Reading jobs, their documents and their logs."""

    async def get(self, caller: str, job_id: str) -> Job:
        """The job as it is now. Raises `JobNotFoundError`."""
        ...

    async def documents(self, caller: str, job_id: str, *, with_result: bool = True) -> Documents:
        """Input and, if wanted, result: one that nobody needs, of many megabytes, is not read.

        Raises `JobNotFoundError`.
        """
        ...

    async def files(self, job: Job, after: str, limit: int) -> FilePage:
        """At most `limit` of the job's output files, by name: those after the cursor `after`, all from an empty one.

        No job read before its files were deleted brings them back: the page is then empty.
        """
        ...

    async def file(self, job: Job, name: str) -> OutputFile | None:
        """The job's output file of that name, if it has one."""
        ...

    async def page(
        self, caller: str, filter: JobFilter, limit: int, cursor: str | None, order: Order = NEWEST_FIRST
    ) -> Page:
        """Jobs after `cursor`. Raises `ValueError`, which says why, for a cursor of another list or of none."""
        ...

    async def ids(self, caller: str, filter: JobFilter, limit: int, cursor: str | None) -> IdPage:
        """Which jobs come after `cursor`, newest first, at a fraction of what `page` costs.

        It looks at the record alone: a job that has changed since the last commit may be among them, or be missing.
        """
        ...

    async def active(self, caller: str, filter: JobFilter, limit: int, ended_since: datetime) -> Sequence[Job]:
        """At most `limit` active jobs, running ones first, then at most as many that ended after `ended_since`."""
        ...

    async def counts(self, caller: str) -> Counts:
        """How many jobs there are, by type and status."""
        ...

    async def queue_position(self, job: Job, now: datetime) -> int | None:
        """The job's estimated position, from 1, among its owner's queued jobs; `None` beyond 1,000 or if not queued.

        Only jobs of types that share slots with the job's are counted, and none of other owners: a position tells
        nothing about them.
        """
        ...

    async def logs(self, job_id: str, after: int, up_to: int, limit: int) -> Sequence[LogLine]:
        """At most `limit` log lines with `after < seq <= up_to`, oldest first."""
        ...

    async def log_tail(self, job_id: str, up_to: int, limit: int) -> Sequence[LogLine]:
        """The last `limit` log lines with `seq <= up_to`, oldest first."""
        ...

    async def attempts(self, job: Job, after: int, limit: int) -> Sequence[PastAttempt]:
        """At most `limit` attempts of the job with a number greater than `after`, oldest first; a running one too."""
        ...

    def account(self, owner: str) -> Account:
        """The owner's quota, and how much of it is used. Never blocks."""
        ...

    def account_of_key(self, key_id: str) -> Account:
        """The quota of a key, and how much of it is used by what was submitted with it. Never blocks."""
        ...

    def departed(self, caller: str, job_id: str) -> Job | None:
        """The last state of a job that was deleted a moment ago, for clients that were watching it."""
        ...

    def held(self, caller: str, job_id: str) -> Job | None:
        """The job if memory holds its newest state; `None`: `get` may have to read it, or there is none.

        For listeners, which have many jobs in one turn. Never use it to answer a client: the speed of the answer would
        reveal that another owner's job exists.
        """
        ...

    def live(self, caller: str, job_id: str) -> LiveJob | None:
        """The job if memory holds it and it is running. The next tick changes what was returned.

        For the watchers of its progress; what is said of `held` applies to it too.
        """
        ...

    def median_run_s(self, job_type: str) -> float | None:
        """The median run time of the type's most recently completed jobs, if known. Never blocks."""
        ...


class Control(Protocol):
    """What clients change about jobs that were accepted."""

    async def cancel(self, caller: str, job_id: str, now: datetime, by: Actor | None = None) -> Job:
        """Cancel a queued job, or request a running attempt to stop. Returns the job as it then is.

        A queued job is cancelled at once. A running one is marked, and the `cancel` bell rings. A cancelled job is
        returned as it is. Raises `JobNotFoundError`, and `JobStateError` if the
        job completed or failed.
        """
        ...

    async def delete(self, caller: str, job_id: str, now: datetime, by: Actor | None = None) -> Job:
        """Delete a job and its record. Returns the job as it then is, or as it last was.

        A queued job is cancelled and deleted at once, and so is one that has ended. A running one is cancelled, and
        deleted when its attempt ends. Raises `JobNotFoundError`.
        """
        ...

    async def delete_result(self, caller: str, job_id: str, now: datetime, by: Actor | None = None) -> Job:
        """Delete the result of a job that has ended and keep its record. A job without one is returned as it is.

        Raises `JobNotFoundError`, and `JobStateError` if the job has not ended.
        """
        ...


class AttemptRecord(Protocol):
    """What a running attempt leaves in the record. Every method names the attempt, and a stale one changes nothing."""

    async def checkpoint(self, job_id: str, attempt: int, checkpoint_json: str) -> None:
        """Record a checkpoint for the next attempt. Raises `ClaimLostError` for a stale attempt."""
        ...

    def hold_output(self, job: Job, size_bytes: int) -> None:
        """Hold room for what the attempt is about to add to the job's bytes, until `finish` has recorded its end.

        Raises `StorageQuotaExceededError` if it does not fit into the owner's quota, or the key's. Never blocks.
        """
        ...

    async def finish(
        self,
        job: Job,
        outcome: Outcome,
        progress: Progress,
        lines: Sequence[NewLogLine],
        now: datetime,
        usage: Usage | None = None,
    ) -> Job:
        """Record in one step how the attempt `job.attempt` ended, with its last progress and log lines and its `usage`.

        Commit order decides: if a cancel was recorded first, the job is cancelled whatever `outcome` says; if a
        deletion was, it is deleted too. Returns the job as it then is, or as it last was. Raises `ClaimLostError`
        for a stale attempt.
        """
        ...


class Attempts(AttemptRecord, Protocol):
    """Running jobs. Every method but `claim` and `recover` names the attempt, and a stale one changes nothing."""

    async def recover(self, now: datetime, max_recoveries: int, by_type: Mapping[str, int] = ...) -> Recovery:
        """At start: requeue running jobs, or end those that were to be cancelled or have crashed too often.

        `by_type` holds the job types with a limit other than `max_recoveries`.
        """
        ...

    async def claim(self, pools: Sequence[FreeSlots], now: datetime) -> Claims:
        """Take due jobs, by priority and turn: of each pool at most `total`, and at most `of_type[type]` of a type.

        Turns are those of owners. Within a priority and pool, a job gets one when it falls due: the turn after the last
        one of its owner, or the current one if that is later. So those of one owner are claimed in the order in which
        they fell due, and an owner without waiting jobs is next. A job that was interrupted comes first.

        All pools are filled in one step, and each as if it were alone: jobs that queue for one, however many, are
        never in front of another's. Each job becomes running with a higher `attempt`, which fences off the previous
        attempt.
        """
        ...

    async def tick(self, ticks: Sequence[Tick], now: datetime) -> None:
        """Publish progress: visible immediately, durable only after `flush`."""
        ...

    async def flush(self) -> float | None:
        """Write published progress to disk, without waiting for it: at most twice a second, or less often if it is that
        of many jobs.

        Call it after ticks. Returns the seconds after which to call it again if it was too early, else `None`.
        """
        ...

    async def append_logs(self, batches: Sequence[LogBatch]) -> None:
        """Number and record log lines."""
        ...


class Probe(Protocol):
    """Whether the record can be written."""

    async def check_writable(self) -> None:
        """Write something durably, or raise `StoreUnavailableError`."""
        ...


class JobStore(Submissions, Reservations, Reader, Control, Editing, Attempts, Housekeeping, Probe, Protocol):
    """The record: every accepted job, its history and its outcome. What a backend implements."""
