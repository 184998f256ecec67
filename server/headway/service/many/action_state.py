"""How far an action has come: what its checkpoint holds, and what its result says."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from pydantic.alias_generators import to_camel

from ...domain.access import Caller
from ...domain.audit import Actor
from ...domain.filters import JobFilter
from ...errors import (
    DiskFullError,
    HeadwayError,
    JobNotFoundError,
    JobStateError,
    JobTypeNotFoundError,
    JobTypeUnavailableError,
    QueueFullError,
    QuotaExceededError,
    StorageQuotaExceededError,
    StoreUnavailableError,
)
from ...ports.actions import ActionKind, Effect, Handled

FAILURES_LISTED = 100
DONE: Mapping[ActionKind, str] = {
    ActionKind.CANCEL: "cancelled",
    ActionKind.PURGE: "purged",
    ActionKind.RETRY: "retried",
}
"""The outcome of a job to which it was done."""
FINE = frozenset({*DONE.values(), "stopping", "unchanged", "skipped"})
"""Outcomes that are no failures."""

OUTCOME_OF: Mapping[type[HeadwayError], str] = {
    JobNotFoundError: "not-found",
    JobStateError: "conflict",
    JobTypeNotFoundError: "job-type-unavailable",
    JobTypeUnavailableError: "job-type-unavailable",
    DiskFullError: "disk-full",
    QueueFullError: "queue-full",
    QuotaExceededError: "quota-exceeded",
    StorageQuotaExceededError: "storage-quota-exceeded",
    StoreUnavailableError: "store-unavailable",
}
"""Why one job is refused. A class takes precedence over its base."""
DETAILS: Mapping[type[HeadwayError], str] = {
    JobNotFoundError: "There is no such job.",
    JobTypeNotFoundError: "The job type is not served any longer.",
}
"""Details that replace an error's own text, which only repeats an id or a name."""


class _Camel(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True)


class ActionFailure(_Camel):
    """A job for which the action failed, and why."""

    job_id: str
    outcome: str
    detail: str


class ActionResult(_Camel):
    """What an action has done."""

    action: ActionKind
    handled: int = Field(description="The number of jobs handled so far. Each job is counted once.")
    outcomes: dict[str, int] = Field(description="The number of jobs by outcome.")
    failed: int = Field(
        description="The number of jobs for which the action failed, without those that no longer match the filter."
    )
    failures: Annotated[list[ActionFailure], Field(max_length=FAILURES_LISTED)] = Field(
        description=f"The first {FAILURES_LISTED} jobs for which the action failed."
    )


class JobOutcome(NamedTuple):
    """What the action did to one job; `detail` is given if it failed."""

    job_id: str
    outcome: str
    detail: str | None = None

    @classmethod
    def refused(cls, job_id: str, error: HeadwayError) -> Self:
        """Of a job for which a use case raised an error."""
        of_class = next(base for base in type(error).__mro__ if base in OUTCOME_OF)
        return cls(job_id, OUTCOME_OF[of_class], DETAILS.get(of_class, str(error)))

    @classmethod
    def handled(cls, kind: ActionKind, handled: Handled) -> Self:
        """Of a job that was handled in the record."""
        if handled.refusal is not None:
            return cls.refused(handled.job_id, handled.refusal)
        match handled.effect:
            case Effect.DONE:
                return cls(handled.job_id, DONE[kind])
            case Effect.NOT_FOUND:
                return cls(handled.job_id, "not-found", DETAILS[JobNotFoundError])
            case Effect.CONFLICT:
                state = "is not there any longer" if handled.job is None else f"is {handled.job.status}"
                return cls(handled.job_id, "conflict", f"The job {state}.")
            case _:
                return cls(handled.job_id, handled.effect.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionState:
    """What the checkpoint of an action holds: on whose behalf it acts, on which jobs, and how far it has come.

    `position` counts the ids that were given. `cursor` is the job after which the next ones that match the filter come,
    newest first, so that it never comes to one that was accepted after it. `total` is `None` until they were counted.
    """

    sees: str
    key_id: str | None
    actor: Actor | None
    filter: JobFilter | None
    total: int | None
    position: int = 0
    cursor: str | None = None
    finished: bool = False
    handled: int = 0
    outcomes: Mapping[str, int] = field(default_factory=dict)
    failed: int = 0
    failures: tuple[ActionFailure, ...] = ()

    def caller(self, owner: str) -> Caller:
        """The one who asked for it."""
        return Caller(owner, self.sees, self.key_id, self.actor)

    def after(self, outcomes: Iterable[JobOutcome]) -> "ActionState":
        """The state once these jobs have been handled too."""
        counts, failures, handled, failed = dict(self.outcomes), list(self.failures), self.handled, self.failed
        for job_id, outcome, detail in outcomes:
            handled += 1
            counts[outcome] = counts.get(outcome, 0) + 1
            if outcome not in FINE:
                failed += 1
                if len(failures) < FAILURES_LISTED:
                    failures.append(ActionFailure(job_id=job_id, outcome=outcome, detail=detail or outcome))
        return replace(self, handled=handled, outcomes=counts, failed=failed, failures=tuple(failures))

    def result(self, kind: ActionKind) -> ActionResult:
        """What it has done so far."""
        return ActionResult(
            action=kind,
            handled=self.handled,
            outcomes=dict(sorted(self.outcomes.items())),
            failed=self.failed,
            failures=list(self.failures),
        )

    @property
    def summary(self) -> str:
        """For people."""
        return ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(self.outcomes.items())) or "nothing yet"

    def to_json(self) -> str:
        return _STATE.dump_json(self).decode()

    @classmethod
    def restored(cls, checkpoint: Any) -> "ActionState":
        """From the checkpoint. Raises `pydantic.ValidationError`."""
        return _STATE.validate_python(checkpoint)


_STATE = TypeAdapter(ActionState)
