"""Carrying out actions: the handler of the server's own job type, which works in small steps."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, TypeVar

import structlog
from pydantic import BaseModel, TypeAdapter

from ...authoring.contexts import Context
from ...authoring.job_types import JobType
from ...clock import utc_now
from ...domain.access import Caller
from ...domain.filters import JobFilter
from ...domain.jobs import Job
from ...errors import ClaimLostError, HeadwayError, JobFailed, StoppingError, StoreUnavailableError
from ...ports.actions import ACTION_TYPE, ActionKind, Actions, Effect, Handled, Step
from ...ports.keys import KeyStore
from ...turns import CommonTurns
from ..accepting import Accepting, Prepared
from ..cancelling import Cancelling
from ..reading import Reading
from ..repeating import Repeating
from .action_state import ActionResult, ActionState, JobOutcome

JOBS_PER_STEP = 15
"""In the writer's thread, they take about half as long as a commit; then the loop has as many to make known."""
JOBS_PER_COUNT = 500
TRY_AGAIN_AFTER_S = 1.0

T = TypeVar("T")

log = structlog.get_logger(__name__)


class ActionInput(BaseModel):
    """What was asked for, as clients see it."""

    action: ActionKind
    ids: list[str] | None = None
    filter: dict[str, Any] | None = None


class _Targets(NamedTuple):
    """The jobs of the next step, and the state of the action once they have been handled, but for their outcomes."""

    job_ids: Sequence[str]
    then: ActionState


class RunningActions:
    """Runs actions, several at a time."""

    def __init__(
        self,
        actions: Actions,
        keys: KeyStore,
        reading: Reading,
        cancelling: Cancelling,
        repeating: Repeating,
        accepting: Accepting,
    ) -> None:
        self._actions = actions
        self._keys = keys
        self._reading = reading
        self._cancelling = cancelling
        self._repeating = repeating
        self._accepting = accepting
        self._turns = CommonTurns()

    @property
    def job_type(self) -> JobType:
        """The type that the engine runs. No client can submit a job of it, or sees it among the job types."""
        return JobType(
            name=ACTION_TYPE,
            title="Action on many jobs",
            description="Cancels, purges or retries many jobs.",
            handler=self.run,
            is_async=True,
            input_type=ActionInput,
            output=TypeAdapter(ActionResult),
            positional=("ctx", "input"),
            max_recoveries=2**31,
            source=__name__,
        )

    async def run(self, ctx: Context, input: ActionInput) -> ActionResult:
        """The handler. It goes on where the checkpoint says.

        Raises `JobFailed` once the API key that the action was started with is revoked.
        """
        state = ActionState.restored(ctx.resumed)
        if state.total is None and state.filter is not None:
            ctx.progress(message="counting the jobs")
            state = replace(state, total=await self._count(ctx, state, state.filter))
        ctx.progress(done=state.handled, total=state.total, unit="jobs", message=state.summary)
        step: asyncio.Future[ActionState] | None = None

        async def advance() -> ActionState:
            nonlocal step
            step = asyncio.ensure_future(self._advance(ctx, input, state))
            return await asyncio.shield(step)

        try:
            while not state.finished:
                state = await self._in_turn(ctx, state, advance)
                ctx.progress(done=state.handled, message=state.summary)
        except ClaimLostError:
            pass  # it was cancelled, and is about to be stopped
        except asyncio.CancelledError:
            if step is not None:  # it is carried out nevertheless
                await asyncio.wait({step})
                state = state if step.cancelled() or step.exception() else step.result()
            _log_stop(ctx, state)
            raise
        except JobFailed:
            _log_stop(ctx, state)
            raise
        return state.result(input.action)

    async def _in_turn(self, ctx: Context, state: ActionState, work: Callable[[], Awaitable[T]]) -> T:
        """Do a piece of the work in the owner's turn. While the record is unavailable, try again, and let others in.

        Raises `JobFailed` if the action may not go on.
        """
        while True:
            try:
                async with self._turns.of(ctx.owner):
                    await self._check_key(state.key_id)
                    return await work()
            except (StoreUnavailableError, StoppingError) as error:
                log.warning("an action waits", reason=str(error))
            await asyncio.sleep(TRY_AGAIN_AFTER_S)

    async def _check_key(self, key_id: str | None) -> None:
        """Raises `JobFailed` if the key is revoked: what it may do ends with it, also what it has begun."""
        if key_id is not None and await self._keys.get(key_id) is None:
            detail = "The API key that this action was started with has been revoked. What was done before stays done."
            raise JobFailed("Not allowed", detail=detail, status=403, type="forbidden")

    async def _count(self, ctx: Context, state: ActionState, filter: JobFilter) -> int:
        """How many jobs the action will come to, if none of them changes."""
        total, cursor, caller = 0, ctx.job_id, state.caller(ctx.owner)
        while True:
            page = await self._in_turn(ctx, state, partial(self._reading.ids, caller, filter, JOBS_PER_COUNT, cursor))
            total += len(_targeted(page.jobs, filter))
            if page.next_cursor is None:
                return total
            cursor = page.next_cursor

    async def _advance(self, ctx: Context, input: ActionInput, state: ActionState) -> ActionState:
        """The state after the next step. Raises `StoreUnavailableError` and `StoppingError`; nothing is done then."""
        caller = state.caller(ctx.owner)
        targets = await self._next(ctx, input, state, caller)
        return await self._step(ctx, input.action, caller, targets) if targets.job_ids else targets.then

    async def _next(self, ctx: Context, input: ActionInput, state: ActionState, caller: Caller) -> _Targets:
        if state.filter is None:
            given = input.ids or []
            position = state.position + JOBS_PER_STEP
            job_ids: Sequence[str] = given[state.position : position]
            return _Targets(job_ids, replace(state, position=position, finished=position >= len(given)))
        page = await self._reading.ids(caller, state.filter, JOBS_PER_STEP, state.cursor or ctx.job_id)
        job_ids = _targeted(page.jobs, state.filter)
        return _Targets(job_ids, replace(state, cursor=page.next_cursor, finished=page.next_cursor is None))

    async def _step(self, ctx: Context, kind: ActionKind, caller: Caller, targets: _Targets) -> ActionState:
        """Handle some jobs. What is done to them and the state afterwards are recorded together."""
        prepared: dict[str, Prepared] = {}
        refused: dict[str, HeadwayError] = {}
        if kind is ActionKind.RETRY:
            prepared, refused = await self._prepare(caller, targets.job_ids)
        step = Step(
            action_id=ctx.job_id,
            attempt=ctx.attempt,
            kind=kind,
            job_ids=targets.job_ids,
            filter=targets.then.filter,
            caller=caller.sees,
            by=caller.actor,
            now=utc_now(),
            repetitions={job_id: (each.new, each.max_queued) for job_id, each in prepared.items()},
            refused=refused,
        )

        def state_after(handled: Sequence[Handled]) -> ActionState:
            return targets.then.after(JobOutcome.handled(kind, each) for each in handled)

        try:
            handled = await self._actions.perform(step, lambda handled: state_after(handled).to_json())
        except Exception:  # not if cancelled: the step is carried out nevertheless
            await self._remove_files(prepared.values())
            raise
        done = {each.job_id: each.job for each in handled if each.effect is Effect.DONE}
        await self._remove_files(each for job_id, each in prepared.items() if job_id not in done)
        await self._tidy(kind, done.values())
        return state_after(handled)

    async def _prepare(
        self, caller: Caller, job_ids: Sequence[str]
    ) -> tuple[dict[str, Prepared], dict[str, HeadwayError]]:
        """The repetitions of jobs, with their files in place, and why the other jobs cannot be repeated.

        Raises `StoppingError`, and `StoreUnavailableError` if the record cannot be read.
        """
        prepared: dict[str, Prepared] = {}
        refused: dict[str, HeadwayError] = {}
        for job_id in job_ids:
            try:
                each = await self._repeating.prepare(caller, job_id)
            except (StoppingError, StoreUnavailableError):
                await self._remove_files(prepared.values())
                raise
            except HeadwayError as error:
                refused[job_id] = error
                continue
            try:
                await self._accepting.place_files(each)
            except StoreUnavailableError as error:  # the files of this job, perhaps: the others go on
                refused[job_id] = error
            else:
                prepared[job_id] = each
        return prepared, refused

    async def _remove_files(self, prepared: Iterable[Prepared]) -> None:
        for each in prepared:
            await self._accepting.remove_files(each)

    async def _tidy(self, kind: ActionKind, done: Iterable[Job | None]) -> None:
        """What the use case for one job does once its change is recorded."""
        for job in done:
            if job is not None and kind is ActionKind.CANCEL:
                await self._cancelling.tidy_cancelled(job)
            elif job is not None and kind is ActionKind.PURGE:
                self._cancelling.tidy_deleted(job)


def _log_stop(ctx: Context, state: ActionState) -> None:
    ctx.progress(done=state.handled, message=state.summary)
    ctx.log(f"stopped after {state.handled:,} jobs: {state.summary}", "warning")


def _targeted(jobs: Iterable[tuple[str, str]], filter: JobFilter) -> list[str]:
    """The ids of those jobs of a page that an action is for: actions only if they are named."""
    return [job_id for job_id, job_type in jobs if job_type != ACTION_TYPE or ACTION_TYPE in filter.types]
