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
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from .access import ApiKey
from .deliveries import Delivery, Message, SigningSecret, Verdict
from .jobs import (
    Claim,
    Counts,
    FirstSubmission,
    IdempotencyKey,
    Job,
    JobFilter,
    LogLine,
    NewJob,
    NewLogLine,
    Outcome,
    Status,
)
from .progress import Progress


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
class Documents:
    """The big parts of a job, as JSON text."""

    input_json: str
    result_json: str | None


@dataclass(frozen=True, slots=True)
class Recovery:
    """What was found running at start, by what became of it."""

    requeued: Sequence[Job]
    ended: Sequence[Job]


@dataclass(frozen=True, slots=True)
class Levels:
    """How many jobs there are, and by type since when the one that has waited longest could have run; and how many
    deliveries are still to be made.
    """

    counts: Counts
    waiting_since: Mapping[str, datetime]
    pending_deliveries: int = 0


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


class RecordKeeper(Protocol):
    """The record as its operator sees it, over all owners. Every method may run beside jobs and polls."""

    @property
    def engine(self) -> str:
        """The database and its version, for people."""
        ...

    async def count_ended(self, before: datetime, statuses: Sequence[Status]) -> int:
        """How many jobs with one of these states ended by `before`."""
        ...

    async def delete_ended(self, before: datetime, statuses: Sequence[Status], limit: int) -> Sequence[str]:
        """Delete at most `limit` of them, oldest first, and give space back; their ids."""
        ...

    async def levels(self, now: datetime) -> Levels:
        """What there is now. Raises `StoreUnavailableError`."""
        ...

    async def copy_to(self, target: Path) -> None:
        """Write a consistent copy of the record to a file that does not exist. Raises `StoreUnavailableError`."""
        ...

    async def find_faults(self) -> Sequence[str]:
        """What is damaged, in words; nothing if all is well. May take long."""
        ...


class KeyStore(Protocol):
    """API keys, the sessions that were opened with them, and the server's own secret. Tokens come as their SHA-256.

    Writes are atomic and durable on return, and raise `StoreUnavailableError` if nothing was recorded. What is asked
    for at each request (`find`, `get`, `find_session`) is answered from memory. A key that was revoked is in force
    nowhere a second later, in other processes on the same record too, and its sessions have ended.
    """

    async def add(self, key: ApiKey, sha256: str) -> None:
        """Record a key. Raises `KeyNameTakenError` if another that is in force has its name."""
        ...

    async def all(self) -> Sequence[ApiKey]:
        """Every key that there ever was, oldest first."""
        ...

    async def revoke(self, name: str, now: datetime) -> None:
        """Put a key out of force for good; the hub's `revoked` bell rings with its id. Raises `KeyNotFoundError`."""
        ...

    async def any_in_force(self) -> bool:
        """Whether there is a key that works."""
        ...

    async def find(self, sha256: str) -> ApiKey | None:
        """The key with this sum, if it is in force."""
        ...

    async def get(self, key_id: str) -> ApiKey | None:
        """The key with this id, if it is in force."""
        ...

    async def open_session(self, sha256: str, key: ApiKey, expires_at: datetime) -> None:
        """From now on the session stands for the key, if that is still in force. A key has so many sessions at most;
        for one more the oldest ends.
        """
        ...

    async def find_session(self, sha256: str, now: datetime) -> ApiKey | None:
        """The key that an open session stands for, if it is in force."""
        ...

    async def end_session(self, sha256: str) -> None:
        """End a session, if there is one."""
        ...

    async def forget_sessions(self, now: datetime, limit: int) -> int:
        """Delete at most `limit` sessions that have expired; how many."""
        ...

    async def secret(self) -> bytes:
        """32 random bytes, the same for ever and in every process on the record."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """How many deliveries: taken now; under way of one owner, and of one owner to one host, in all processes."""

    at_once: int
    per_owner: int
    per_host: int


@dataclass(frozen=True, slots=True)
class Due:
    """What there is to send now, and when it is worth another look (`None`: not before the bell rings)."""

    messages: Sequence[Message]
    next_at: datetime | None


class Outbox(Protocol):
    """What is still to be said to the receivers of webhooks, and what was said.

    A delivery with its final body is recorded by the `JobStore`, in one step with the change that it tells of; the
    hub's `outbox` bell rings then, and what is pending outlives its job. Each is sent at least once. Writes are atomic
    and durable on return, and raise `StoreUnavailableError` if nothing was recorded.
    """

    async def take(self, now: datetime, limits: Limits, lease_s: float) -> Due:
        """Take due deliveries, the longest due first, each with a grown `attempts` that fences off whoever held it
        before. Until `record`, or for `lease_s` seconds, nobody else gets them.

        A host whose last attempt failed gets one at a time, and a second's rest if it did not answer or is overloaded.
        What waits for a host or an owner at its limit holds up nobody, and is not looked at. If the caller is
        cancelled, what was taken is taken until the lease ends.
        """
        ...

    async def record(self, delivery: Delivery, verdict: Verdict, now: datetime) -> None:
        """Record what an attempt came to; nothing, if it is not the current one.

        After a 410 (`GivenUp.gone`) what waits for that URL of that owner has failed, and jobs that were submitted
        before tell it nothing more, until it takes a delivery of which it was asked again. Progress is not tried
        again once there is something newer to say of the job. With the last attempt ends what is left of a job
        that has been deleted.
        """
        ...

    async def of_job(self, job_id: str, limit: int) -> Sequence[Delivery]:
        """The job's deliveries, at most `limit`, newest first."""
        ...

    async def redeliver(self, job_id: str, delivery_id: str, now: datetime) -> Delivery | None:
        """Make one of the job's deliveries due now, with all attempts before it; `None` if there is no such one.

        Its id and its body stay. One that is under way at the moment stays as it is.
        """
        ...

    async def recover(self, now: datetime) -> int:
        """At start: what a sender that is gone had taken is due at once, and what was put off by a clock that was
        ahead of this one waits no longer than was meant. How many had been taken.
        """
        ...

    async def expire(self, now: datetime, limit: int) -> int:
        """Forget at most `limit` deliveries that ended a week ago, and what else is past its time; how many of them."""
        ...

    async def secrets(self, owner: str, now: datetime) -> Sequence[SigningSecret]:
        """The secrets that sign what is sent for this owner, the current one first. Made when first asked for: of any
        number that ask at once, all get the same.
        """
        ...

    async def rotate_secret(self, owner: str, now: datetime, overlap_s: float) -> Sequence[SigningSecret]:
        """Make a new secret; those before it go on signing for `overlap_s` seconds. All that sign, the new first."""
        ...


class Bell(StrEnum):
    """Why the hub rings. A bell carries only an id, of a job where nothing else is said: the store is the truth."""

    CHANGED = "changed"  # its state, progress or log; or it is gone
    QUEUED = "queued"  # it may be claimed
    CANCEL = "cancel"  # its running attempt should stop
    DELETED = "deleted"  # its record is gone, its files may go
    OUTBOX = "outbox"  # there is something new to say to the receiver of its webhook
    REVOKED = "revoked"  # an API key, by its id: what was opened with it ends


class Listener(Protocol):
    """Hears that something changed since it last looked. Bells coalesce: it holds ids, never a queue."""

    async def wait(self, timeout_s: float) -> frozenset[str]:
        """The ids that rang since the last call, at once if there are any; empty after `timeout_s` seconds,
        or when the hub has closed. Cancelling it loses no bell.
        """
        ...

    def close(self) -> None:
        """Stop listening. May be called twice."""
        ...


class EventHub(Protocol):
    """Rings bells for whoever listens, in this process and, with a shared record, in all of them."""

    @property
    def closed(self) -> bool:
        """Whether `close` was called: listeners end."""
        ...

    def ring(self, bell: Bell, job_id: str) -> None:
        """Tell the listeners. Never blocks, never raises."""
        ...

    def listen(self, bell: Bell, job_id: str | None = None) -> Listener:
        """Listen to one job, or to all; hears what rings from now on."""
        ...

    def close(self) -> None:
        """Wake every listener for the last time."""
        ...


class Engine(Protocol):
    """Runs claimed jobs. Only runs: what is queued, and every outcome, stands in the store."""

    async def start(self) -> None:
        """Recover what a crash left, and begin to claim."""
        ...

    async def stop(self, grace_s: float) -> None:
        """Claim no more; stop the running attempts and requeue them; return within about `grace_s` seconds."""
        ...
