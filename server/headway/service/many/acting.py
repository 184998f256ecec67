"""Asking for an action: one request that cancels, purges or retries many jobs, accepted like a job."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic_core import to_json

from ...clock import utc_now
from ...domain.access import Caller
from ...domain.filters import JobFilter
from ...domain.idempotency import KEPT, FirstSubmission, IdempotencyKey
from ...domain.ids import JobIds
from ...domain.jobs import Job, NewJob
from ...errors import InvalidError
from ...ports.actions import ACTION_TYPE, APPLIES_TO, MEANT, ActionKind, Actions
from ..accepting import Accepted
from ..admission import FREE_SPACE_MAX_AGE_S, Admission
from ..idempotency import fingerprint_of, first_job
from ..reading import Reading
from .action_state import DONE, ActionState

MAX_FILTER_BYTES = 32 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionRequest:
    """What is to be done, and to which jobs: those with certain ids, or those that match a filter.

    `asked`: the same in the client's words, which becomes the input of the job.
    """

    kind: ActionKind
    ids: tuple[str, ...] = ()
    filter: JobFilter | None = None
    asked: Mapping[str, Any]


class Acting:
    """Records actions. The engine carries them out."""

    def __init__(
        self,
        actions: Actions,
        admission: Admission,
        reading: Reading,
        ids: JobIds,
        *,
        retain_s: float,
    ) -> None:
        self._actions = actions
        self._admission = admission
        self._reading = reading
        self._ids = ids
        self._retain_s = retain_s

    def check_room(self, caller: Caller) -> None:
        """Raise what refuses any action now: `StoppingError`, `DiskFullError` or `OwnerQueueFullError`."""
        self._admission.check_running()
        self._admission.check_space(0, FREE_SPACE_MAX_AGE_S)
        self._actions.check_room(caller.owner)

    async def submit(
        self, caller: Caller, request: ActionRequest, key: str | None = None, first: FirstSubmission | None = None
    ) -> Accepted:
        """Accept an action: durable on return. With an idempotency `key`, the first one that was asked for with it.

        `first`: what `Submitting.first_with` returned before the request was read. Raises `InvalidError` for a filter
        that selects jobs that this cannot be done to, what `check_room` raises, `QuotaExceededError`,
        `StoreUnavailableError`, and with a key `KeyReusedError` and `JobGoneError`.
        """
        fingerprint = fingerprint_of({"type": ACTION_TYPE, "input": request.asked})
        if first is None:
            self._admission.check_running()
            new, state = self._prepare(caller, request)
            recorded_key = (
                None if key is None else IdempotencyKey(caller.owner, key, fingerprint, new.created_at + KEPT)
            )
            recorded = await self._actions.insert(new, state.to_json(), recorded_key)
            if isinstance(recorded, Job):
                return Accepted(recorded)
            first = recorded
        return Accepted(await first_job(self._reading, caller, first, fingerprint, utc_now()), replayed=True)

    def _prepare(self, caller: Caller, request: ActionRequest) -> tuple[NewJob, ActionState]:
        filter = None if request.filter is None else _applicable(request.kind, request.filter)
        total = len(request.ids) if filter is None else None
        job_id, created_at = self._ids.new(utc_now())
        new = NewJob(
            id=job_id,
            owner=caller.owner,
            type=ACTION_TYPE,
            input_json=to_json(request.asked).decode(),
            created_at=created_at,
            run_at=created_at,
            retain_s=self._retain_s,
            key_id=caller.key_id,
            by=caller.actor,
        )
        state = ActionState(sees=caller.sees, key_id=caller.key_id, actor=caller.actor, filter=filter, total=total)
        if filter is not None and len(state.to_json()) > MAX_FILTER_BYTES:  # it is written again with each step
            raise InvalidError([("/filter", f"is larger than {MAX_FILTER_BYTES:,} bytes")])
        return new, state


def _applicable(kind: ActionKind, filter: JobFilter) -> JobFilter:
    """The filter for jobs in a state that this can be done to. Raises `InvalidError` if it names another state."""
    applies = APPLIES_TO[kind]
    if others := sorted(filter.statuses - applies):
        raise InvalidError([("/filter/status", f"a {others[0]} job cannot be {DONE[kind]}")])
    return replace(filter, statuses=filter.statuses or MEANT[kind])
