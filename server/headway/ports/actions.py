"""Actions: one request that cancels, purges or retries many jobs, recorded and followed like a job.

An action is a job of a type of the server's own. What it still has to do is in its checkpoint, which is recorded in one
step with what was done to the other jobs: so each of them is handled once, wherever a crash comes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple, Protocol

from ..domain.audit import Actor
from ..domain.filters import JobFilter
from ..domain.idempotency import FirstSubmission, IdempotencyKey
from ..domain.jobs import ACTIVE, STATUSES, TERMINAL, Job, NewJob, Status
from ..errors import HeadwayError

ACTION_TYPE = "actions"
"""The type of jobs that are actions. No author's type has this name."""
MOST_ACTIVE = 10
"""Actions of one owner that have not ended."""


class ActionKind(StrEnum):
    """What is done to each job."""

    CANCEL = "cancel"
    PURGE = "purge"
    RETRY = "retry"


APPLIES_TO: Mapping[ActionKind, frozenset[Status]] = MappingProxyType(
    {ActionKind.CANCEL: ACTIVE, ActionKind.PURGE: STATUSES, ActionKind.RETRY: TERMINAL}
)
"""The states of jobs that it can be done to."""
MEANT: Mapping[ActionKind, frozenset[Status]] = MappingProxyType(
    {**APPLIES_TO, ActionKind.RETRY: frozenset({Status.FAILED, Status.CANCELLED})}
)
"""Those that are meant if none is named."""


class Effect(StrEnum):
    """What became of one job."""

    DONE = "done"
    STOPPING = "stopping"
    """It was running, and has been asked to stop."""
    UNCHANGED = "unchanged"
    """It had been cancelled before."""
    SKIPPED = "skipped"
    """It no longer matches the filter, or is no longer there."""
    NOT_FOUND = "not-found"
    CONFLICT = "conflict"
    """Its state does not allow it."""
    REFUSED = "refused"
    """It cannot be repeated, or there is no room for the new job."""


class Handled(NamedTuple):
    """What became of one job, and the job as it then is."""

    job_id: str
    effect: Effect
    job: Job | None = None
    refusal: HeadwayError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Some jobs that an action handles in one step.

    `caller` and `by` are those who asked for the action. Jobs that do not match the `filter` any longer are skipped.
    For a retry, `repetitions` holds the new jobs by the ids of those that they repeat, each with the limit of its type,
    and `refused` why the other jobs cannot be repeated.
    """

    action_id: str
    attempt: int
    kind: ActionKind
    job_ids: Sequence[str]
    filter: JobFilter | None
    caller: str
    by: Actor | None
    now: datetime
    repetitions: Mapping[str, tuple[NewJob, int | None]] = field(default_factory=dict)
    refused: Mapping[str, HeadwayError] = field(default_factory=dict)


class Actions(Protocol):
    """Recording actions and what they do. The promises of `ports.jobs` apply."""

    def check_room(self, owner: str) -> None:
        """Raise `OwnerQueueFullError` if `insert` would. Never blocks."""
        ...

    async def insert(
        self, new: NewJob, checkpoint_json: str, key: IdempotencyKey | None = None
    ) -> Job | FirstSubmission:
        """Record an action as queued, with the checkpoint that its first attempt begins with.

        Raises `OwnerQueueFullError` if the owner has `MOST_ACTIVE` actions that have not ended. A queue or a quota that
        is full does not refuse it, since it may be what empties them; but then the owner can keep no more than
        `MOST_ACTIVE` actions, and `QuotaExceededError` is raised. `key`: as for `Submissions.insert`.
        """
        ...

    async def perform(self, step: Step, checkpoint: Callable[[Sequence[Handled]], str]) -> Sequence[Handled]:
        """Do to each job of the step what the action is for, and record what `checkpoint` makes of it, in one step.

        `checkpoint` may be called more than once, in another thread. Raises `ClaimLostError` for a stale attempt, and
        once a cancel of the action is recorded; nothing is done then.
        """
        ...
