"""How an attempt ended, as frozen values that the store records, and the rules that choose between them.

What follows from an outcome is data: its transition (`transition_of`) and what it counts against (`counted`). Backends
read both here, so that no two of them count differently.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from ..quotas import utf8_bytes
from .jobs import Job, JobError, OutputFile, Transition

BACKOFF_BASE_S = 2.0
BACKOFF_CAP_S = 300.0

INTERRUPTED = JobError(
    type="interrupted",
    title="The server stopped while the job ran",
    detail="It was started as often as its type allows.",
    status=500,
)


class Completed(NamedTuple):
    """The handler returned. `result_json` is its return value as JSON text, `result_url` what it set for clients.

    A tuple, because that is made in half the time, and most attempts end like this.
    """

    result_json: str
    files: tuple[OutputFile, ...] = ()
    result_url: str | None = None

    @property
    def kept_bytes(self) -> int:
        """What it adds to the bytes that the job's owner keeps."""
        size = utf8_bytes(self.result_json)
        return size + sum(file.size_bytes for file in self.files) if self.files else size


@dataclass(frozen=True, slots=True)
class Failed:
    """The attempt failed, and there will be no other. `crashed`: the server's crashes were too many, not failures."""

    error: JobError
    crashed: bool = False


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The attempt stopped because a cancel was recorded."""


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The attempt stopped because its server did, and the job is queued again. `crashed`: it did not stop in order."""

    crashed: bool = False


@dataclass(frozen=True, slots=True)
class Retry:
    """The attempt failed, and the job is queued again until `run_at`."""

    error: JobError
    run_at: datetime


Outcome = Completed | Failed | Cancelled | Interrupted | Retry


class Counted(NamedTuple):
    """What an outcome adds to the job's counters."""

    failures: int = 0
    recoveries: int = 0
    interruptions: int = 0


def transition_of(outcome: Outcome) -> Transition:
    """The change of state that records the outcome."""
    match outcome:
        case Completed():
            return Transition.COMPLETE
        case Failed():
            return Transition.FAIL
        case Cancelled():
            return Transition.CANCEL
        case Interrupted() | Retry():
            return Transition.REQUEUE


def counted(outcome: Outcome) -> Counted:
    """What the outcome counts against: failures against `max_attempts`, crashes against the limit of recoveries.

    An orderly stop counts against nothing; like a crash, it is an interruption.
    """
    match outcome:
        case Failed(crashed=True) | Interrupted(crashed=True):
            return Counted(recoveries=1, interruptions=1)
        case Interrupted():
            return Counted(interruptions=1)
        case Failed() | Retry():
            return Counted(failures=1)
        case Completed() | Cancelled():
            return Counted()


# What an end means


def after_failure(job: Job, error: JobError, now: datetime, jitter: float) -> Failed | Retry:
    """A failure that another attempt could fix: a retry after a back-off, if the job has an attempt left.

    `jitter` is a random number between 0 and 1.
    """
    if job.failures + 1 >= job.max_attempts:
        return Failed(error)
    return Retry(error, now + timedelta(seconds=backoff_s(job.failures, jitter)))


def after_shutdown(*, may_restart: bool) -> Failed | Interrupted:
    """An attempt that an orderly shutdown interrupted: queued again, unless its job type forbids a second start."""
    return Interrupted() if may_restart else Failed(INTERRUPTED)


def after_crash(job: Job, max_recoveries: int, error: JobError = INTERRUPTED) -> Cancelled | Failed | Interrupted:
    """A job that was running when its server crashed: queued again, unless it was to be cancelled, or has crashed as
    often as it may. Then it has failed, with `error`.

    One that has an error already was damaged: what says whether it may run again is lost.
    """
    if job.cancel_requested:
        return Cancelled()
    if job.error is not None:
        return Failed(job.error, crashed=True)
    if job.recoveries >= max_recoveries:
        return Failed(error, crashed=True)
    return Interrupted(crashed=True)


def backoff_s(failures: int, jitter: float) -> float:
    """Seconds until the next attempt: exponential with full jitter, capped. `jitter` is between 0 and 1.

    Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    return jitter * min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2.0**failures)
