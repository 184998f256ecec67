"""The attempts of a job: one record for each time that it was started."""

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from .jobs import Job, JobError, Status
from .outcomes import Outcome, Retry


class Usage(NamedTuple):
    """What the process of an attempt used, with the processes that it started and waited for.

    `cpu_s` is the time of all of them, `peak_memory_bytes` the resident memory of the largest one. That includes what
    it shares with others, such as what was loaded before it was forked.
    """

    peak_memory_bytes: int
    cpu_s: float


class AttemptOutcome(StrEnum):
    """How an attempt ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    RETRY = "retry"
    """It failed, and the job is queued for another one."""
    INTERRUPTED = "interrupted"
    """Its server stopped, or its process was lost with the one that it was forked from; the job is queued again."""


class PastAttempt(NamedTuple):
    """One attempt of a job. What is `None` is unknown, or not yet known because the attempt runs."""

    number: int
    started_at: datetime
    ended_at: datetime | None = None
    outcome: AttemptOutcome | None = None
    error: JobError | None = None
    usage: Usage | None = None


def attempt_outcome(after: Job, outcome: Outcome) -> AttemptOutcome:
    """How an attempt ended, by the record, where a cancel may have come first. `after` is the job after it."""
    if after.terminal:
        return AttemptOutcome(after.status)
    return AttemptOutcome.RETRY if isinstance(outcome, Retry) else AttemptOutcome.INTERRUPTED


def ended_attempt(after: Job, outcome: Outcome, usage: Usage | None) -> PastAttempt | None:
    """The record of an attempt that has just ended; `None` if `implied_attempt` can tell it from the job alone.

    Most attempts are like that: those of `async def` handlers that end their job. They cost no row of their own.
    """
    if after.started_at is None or (after.terminal and usage is None):
        return None
    error = outcome.error if isinstance(outcome, Retry) and not after.terminal else after.error
    word = attempt_outcome(after, outcome)
    return PastAttempt(after.attempt, after.started_at, after.updated_at, word, error, usage)


def implied_attempt(job: Job) -> PastAttempt | None:
    """The newest attempt as the job itself tells of it, if there is no record of it: it runs, or ended the job."""
    if job.started_at is None or job.status is Status.QUEUED:
        return None
    if not job.terminal:
        return PastAttempt(job.attempt, job.started_at)
    return PastAttempt(job.attempt, job.started_at, job.completed_at, AttemptOutcome(job.status), job.error)
