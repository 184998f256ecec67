"""How an action goes through jobs: which it comes to, and what happens if it is stopped or the record is not there."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from headway import Context
from headway.authoring.reporting import LogBuffer, Reported
from headway.clock import utc_now
from headway.domain.access import LOCAL_CALLER, ApiKey, Caller
from headway.domain.filters import JobFilter
from headway.domain.jobs import Status
from headway.errors import JobFailed, StoreUnavailableError
from headway.ports.actions import ACTION_TYPE, ActionKind, Actions, Handled, Step
from headway.ports.jobs import FreeSlots, Page
from headway.running.subprocesses import Subprocesses
from headway.service.accepting import Prepared
from headway.service.many import running_actions
from headway.service.many.acting import ActionRequest
from headway.service.many.running_actions import ActionInput

from tests.service.conftest import BROKEN, Rooms
from tests.support.process import WAIT_TIMEOUT_S

BOB = Caller("bob", "bob")
QUEUED = JobFilter(statuses=frozenset({Status.QUEUED}), types=frozenset({"counting"}))


class Begun:
    """An action that the engine would run now."""

    def __init__(self, rooms: Rooms, context: Context, lines: LogBuffer, input: ActionInput) -> None:
        self.actions = rooms.service.running_actions
        self.context = context
        self.lines = lines
        self.input = input

    async def run(self) -> dict[str, int]:
        return (await self.actions.run(self.context, self.input)).outcomes


async def begin(
    rooms: Rooms,
    kind: ActionKind,
    filter: JobFilter | None = None,
    ids: Sequence[str] = (),
    caller: Caller = LOCAL_CALLER,
) -> Begun:
    asked = {"action": kind.value, "ids": list(ids)}
    await rooms.service.acting.submit(caller, ActionRequest(kind=kind, ids=tuple(ids), filter=filter, asked=asked))
    (claim,) = (await rooms.store.claim([FreeSlots(1, {ACTION_TYPE: 1})], utc_now())).claims
    lines = LogBuffer()

    async def no_checkpoint(_: str) -> None:
        raise NotImplementedError

    context = Context(
        job_id=claim.job.id,
        attempt=claim.job.attempt,
        owner=claim.job.owner,
        directories=rooms.files.directories(claim.job),
        reported=Reported(),
        logs=lines,
        checkpoint_json=claim.checkpoint_json,
        async_checkpoint=no_checkpoint,
        start_process=Subprocesses().start,
    )
    return Begun(rooms, context, lines, ActionInput.model_validate_json(claim.input_json))


class Held:
    """Lets no step be recorded before it is `released`."""

    def __init__(self, actions: Actions) -> None:
        self._actions = actions
        self.entered, self.released = asyncio.Event(), asyncio.Event()

    async def perform(self, step: Step, checkpoint: Callable[[Sequence[Handled]], str]) -> Sequence[Handled]:
        self.entered.set()
        await self.released.wait()
        return await self._actions.perform(step, checkpoint)


async def test_jobs_that_are_accepted_after_an_action_are_left_alone(rooms: Rooms) -> None:
    before = await rooms.submit()
    begun = await begin(rooms, ActionKind.CANCEL, QUEUED)
    after = await rooms.submit()
    assert await begun.run() == {"cancelled": 1}
    assert (await rooms.store.get("local", before.id)).status is Status.CANCELLED
    assert (await rooms.store.get("local", after.id)).status is Status.QUEUED


async def test_jobs_that_a_retry_makes_are_not_retried_by_it(rooms: Rooms) -> None:
    for _ in range(2):
        await rooms.end(await rooms.submit(), BROKEN)
    begun = await begin(rooms, ActionKind.RETRY, JobFilter(types=frozenset({"counting"})))
    assert await begun.run() == {"retried": 2}
    assert (await rooms.store.counts("local")).by_type["counting"][Status.QUEUED] == 2


async def test_a_job_that_is_deleted_before_it_is_retried_is_skipped(
    rooms: Rooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [await rooms.end(await rooms.submit(), BROKEN) for _ in range(2)]
    begun = await begin(rooms, ActionKind.RETRY, JobFilter(types=frozenset({"counting"})))
    prepare = rooms.service.repeating.prepare

    async def deleted_before(caller: Caller, job_id: str) -> Prepared:
        if job_id == jobs[0].id:
            await rooms.service.cancelling.delete(LOCAL_CALLER, job_id)
        return await prepare(caller, job_id)

    monkeypatch.setattr(rooms.service.repeating, "prepare", deleted_before)
    result = await begun.actions.run(begun.context, begun.input)
    assert (result.outcomes, result.failed) == ({"retried": 1, "skipped": 1}, 0)


async def test_a_retry_waits_until_the_record_can_be_read_again(rooms: Rooms, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [
        await rooms.end((await rooms.service.submitting.submit(LOCAL_CALLER, await rooms.submission_with_file())).job)
        for _ in range(2)
    ]
    begun = await begin(rooms, ActionKind.RETRY, ids=[job.id for job in jobs])
    prepare, unread = rooms.service.repeating.prepare, [StoreUnavailableError("I/O error")]

    async def fails_at_the_second_job(caller: Caller, job_id: str) -> Prepared:
        if unread and job_id == jobs[1].id:
            raise unread.pop()
        return await prepare(caller, job_id)

    monkeypatch.setattr(running_actions, "TRY_AGAIN_AFTER_S", 0.0)
    monkeypatch.setattr(rooms.service.repeating, "prepare", fails_at_the_second_job)
    assert await begun.run() == {"retried": 2}
    assert len(list(rooms.files.job_ids())) == 4, "those of the step that failed are removed"


def by_filter(_: Sequence[str]) -> dict[str, Any]:
    return {"filter": QUEUED}


def by_ids(ids: Sequence[str]) -> dict[str, Any]:
    return {"ids": ids}


@pytest.mark.parametrize("chosen", [by_filter, by_ids])
@pytest.mark.parametrize("after", [0, 1])
async def test_an_action_ends_before_its_next_step_once_its_key_is_revoked(
    rooms: Rooms, monkeypatch: pytest.MonkeyPatch, chosen: Callable[[Sequence[str]], dict[str, Any]], after: int
) -> None:
    keys = rooms.backend.keys
    await keys.add(ApiKey("key-1", "bob", "bob", read_only=False, admin=False, created_at=utc_now()), "sum")
    jobs = [await rooms.submit(caller=BOB) for _ in range(3)]
    begun = await begin(
        rooms, ActionKind.CANCEL, caller=BOB._replace(key_id="key-1"), **chosen([job.id for job in jobs])
    )
    perform = begun.actions._actions.perform

    async def then_revoked(step: Step, checkpoint: Callable[[Sequence[Handled]], str]) -> Sequence[Handled]:
        handled = await perform(step, checkpoint)
        await keys.revoke("bob", utc_now())
        return handled

    monkeypatch.setattr(running_actions, "JOBS_PER_STEP", 1)
    monkeypatch.setattr(begun.actions._actions, "perform", then_revoked)
    if not after:
        await keys.revoke("bob", utc_now())
    with pytest.raises(JobFailed) as failed:
        await begun.run()
    assert (failed.value.status, failed.value.type) == (403, "forbidden")
    assert "has been revoked" in str(failed.value.detail)
    statuses = [(await rooms.store.get("bob", job.id)).status for job in jobs]
    assert statuses.count(Status.CANCELLED) == after
    assert statuses.count(Status.QUEUED) == 3 - after


async def test_a_stopped_action_ends_its_step_and_tells_what_it_has_done(
    rooms: Rooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await rooms.submit()
    begun = await begin(rooms, ActionKind.CANCEL, ids=[job.id])
    held = Held(begun.actions._actions)
    monkeypatch.setattr(begun.actions, "_actions", held)
    running = asyncio.create_task(begun.run())
    await held.entered.wait()
    running.cancel()
    await asyncio.sleep(0)
    held.released.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert [line.message for line in begun.lines.take()] == ["stopped after 1 jobs: 1 cancelled"]
    assert (await rooms.store.get("local", job.id)).status is Status.CANCELLED


@pytest.mark.parametrize("chosen", [by_filter, by_ids])
@pytest.mark.parametrize("kind", [ActionKind.CANCEL, ActionKind.PURGE])
async def test_no_step_handles_more_jobs_than_its_limit(
    rooms: Rooms,
    monkeypatch: pytest.MonkeyPatch,
    kind: ActionKind,
    chosen: Callable[[Sequence[str]], dict[str, Any]],
) -> None:
    jobs = [await rooms.submit() for _ in range(5)]
    begun = await begin(rooms, kind, **chosen([job.id for job in jobs]))
    perform, at_once = begun.actions._actions.perform, list[int]()

    async def counted(step: Step, checkpoint: Callable[[Sequence[Handled]], str]) -> Sequence[Handled]:
        at_once.append(len(step.job_ids))
        return await perform(step, checkpoint)

    monkeypatch.setattr(running_actions, "JOBS_PER_STEP", 2)
    monkeypatch.setattr(begun.actions._actions, "perform", counted)
    assert sum((await begun.run()).values()) == len(jobs)
    assert at_once == [2, 2, 1]


async def test_an_action_waits_until_the_record_can_be_read_and_written_again(
    rooms: Rooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals = [StoreUnavailableError("disk full")] * 2
    unread = [StoreUnavailableError("I/O error")] * 2
    await rooms.submit()
    begun = await begin(rooms, ActionKind.CANCEL, QUEUED)
    perform, page = begun.actions._actions.perform, rooms.service.reading.page

    async def is_read_the_third_time(*arguments: Any) -> Page:
        if unread:
            raise unread.pop()
        return await page(*arguments)

    async def fails_twice(step: Step, checkpoint: Callable[[Sequence[Handled]], str]) -> Sequence[Handled]:
        if refusals:
            raise refusals.pop()
        return await perform(step, checkpoint)

    monkeypatch.setattr(running_actions, "TRY_AGAIN_AFTER_S", 0.0)
    monkeypatch.setattr(begun.actions._actions, "perform", fails_twice)
    monkeypatch.setattr(rooms.service.reading, "page", is_read_the_third_time)
    assert await begun.run() == {"cancelled": 1}


async def test_an_action_that_waits_for_the_record_lets_others_in(
    rooms: Rooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await rooms.submit(caller=BOB)
    first = await begin(rooms, ActionKind.CANCEL, ids=[job.id])
    other = await begin(rooms, ActionKind.CANCEL, ids=[job.id], caller=BOB)
    perform, failed = first.actions._actions.perform, asyncio.Event()

    async def fails_once(step: Step, checkpoint: Callable[[Sequence[Handled]], str]) -> Sequence[Handled]:
        if failed.is_set():
            return await perform(step, checkpoint)
        failed.set()
        raise StoreUnavailableError("disk full")

    monkeypatch.setattr(running_actions, "TRY_AGAIN_AFTER_S", 3600.0)
    monkeypatch.setattr(first.actions._actions, "perform", fails_once)
    waiting = asyncio.create_task(first.run())
    await failed.wait()
    async with asyncio.timeout(WAIT_TIMEOUT_S):
        assert await other.run() == {"cancelled": 1}
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_files_of_a_repetition_that_is_not_recorded_are_removed(rooms: Rooms) -> None:
    job = (await rooms.service.submitting.submit(LOCAL_CALLER, await rooms.submission_with_file())).job
    await rooms.end(job, BROKEN)
    for _ in range(5):
        await rooms.submit()
    begun = await begin(rooms, ActionKind.RETRY, ids=[job.id])
    assert await begun.run() == {"queue-full": 1}
    assert list(rooms.files.job_ids()) == [job.id]
