"""`Actions`: what is done to many jobs, and what is still to be done, are recorded together."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from headway.domain.access import EVERY_OWNER
from headway.domain.audit import Action, Actor, ActorKind, EntryFilter
from headway.domain.filters import JobFilter
from headway.domain.idempotency import FirstSubmission
from headway.domain.jobs import Job, NewJob, Status
from headway.domain.progress import Progress
from headway.errors import (
    ClaimLostError,
    JobNotFoundError,
    JobTypeUnavailableError,
    OwnerQueueFullError,
    QueueFullError,
    QuotaExceededError,
)
from headway.ports.actions import ACTION_TYPE, MOST_ACTIVE, ActionKind, Effect, Handled, Step
from headway.ports.events import Bell, EventHub
from headway.ports.jobs import FreeSlots, JobStore, Tick
from headway.quotas import Quota

from tests.conformance.backends import Backend
from tests.conformance.records import (
    BROKEN,
    DONE,
    OWNER,
    STRANGER,
    UNKNOWN_ID,
    at,
    claim_one,
    claim_up_to,
    ended_job,
    finish,
    insert_many,
    new_job,
    running_job,
)
from tests.conformance.test_submitting_once import key

ANN = Actor(ActorKind.KEY, OWNER, "key-1", "192.0.2.1", "request-1")


def action(**chosen: Any) -> NewJob:
    return new_job(type=ACTION_TYPE, **chosen)


async def begun(backend: Backend, **chosen: Any) -> Job:
    """An action that has begun to run."""
    await backend.actions.insert(action(**chosen), '{"done":0}')
    (claim,) = (await claim_up_to(backend.store, {ACTION_TYPE: 9}, 9, seconds=1)).claims
    return claim.job


def step_of(job: Job, kind: ActionKind, job_ids: Sequence[str], **chosen: Any) -> Step:
    fields: dict[str, Any] = {"filter": None, "caller": OWNER, "by": ANN, "now": at(2)}
    return Step(action_id=job.id, attempt=job.attempt, kind=kind, job_ids=job_ids, **(fields | chosen))


def told(handled: Sequence[Handled]) -> str:
    """The checkpoint after a step."""
    return f'{{"done":{len(handled)}}}'


async def effects(backend: Backend, step: Step) -> list[Effect]:
    handled = await backend.actions.perform(step, told)
    assert [each.job_id for each in handled] == list(step.job_ids)
    return [each.effect for each in handled]


async def checkpoint_after_crash(backend: Backend) -> tuple[JobStore, str | None]:
    """The store after a crash, and the checkpoint of the one action, which is claimed again."""
    await backend.crash()
    store = await backend.open()
    await store.recover(at(3), 9)
    (claim,) = (await store.claim([FreeSlots(1, {ACTION_TYPE: 1})], at(4))).claims
    return store, claim.checkpoint_json


async def of_each_kind(store: JobStore) -> dict[str, str]:
    """A job in each state, and one that never was."""
    jobs = {
        "completed": await ended_job(store, DONE, type="a"),
        "failed": await ended_job(store, BROKEN, type="b"),
        "running": await running_job(store, type="c"),
        "queued": (await insert_many(store, 1, type="d"))[0],
        "foreign": (await insert_many(store, 1, owner=STRANGER))[0],
        "cancelled": (await insert_many(store, 1, type="e"))[0],
    }
    await store.cancel(OWNER, jobs["cancelled"].id, at(1))
    return {name: job.id for name, job in jobs.items()} | {"unknown": UNKNOWN_ID}


async def test_a_cancel_ends_queued_jobs_and_stops_running_ones(backend: Backend, hub: EventHub) -> None:
    ids = await of_each_kind(backend.store)
    job = await begun(backend)
    bells = hub.listen(Bell.CANCEL)
    found = dict(zip(ids, await effects(backend, step_of(job, ActionKind.CANCEL, list(ids.values()))), strict=True))
    assert found == {
        "completed": Effect.CONFLICT,
        "failed": Effect.CONFLICT,
        "running": Effect.STOPPING,
        "queued": Effect.DONE,
        "foreign": Effect.NOT_FOUND,
        "cancelled": Effect.UNCHANGED,
        "unknown": Effect.NOT_FOUND,
    }
    assert await bells.wait(5) == {ids["running"]}
    assert (await backend.store.get(OWNER, ids["running"])).cancel_requested
    assert (await backend.store.get(OWNER, ids["queued"])).status is Status.CANCELLED
    assert (await backend.store.get(STRANGER, ids["foreign"])).status is Status.QUEUED
    entries = [recorded.entry for recorded in await backend.audit.newest(EntryFilter(), 10)]
    assert {(entry.action, entry.subject, entry.actor) for entry in entries} == {
        (Action.CANCEL, ids[name], ANN) for name in ("running", "queued")
    }
    assert not await backend.keeper.find_miscounts()


async def test_a_purge_deletes_jobs_in_any_state(backend: Backend) -> None:
    ids = await of_each_kind(backend.store)
    job = await begun(backend)
    found = dict(zip(ids, await effects(backend, step_of(job, ActionKind.PURGE, list(ids.values()))), strict=True))
    stays = {"running": Effect.STOPPING, "foreign": Effect.NOT_FOUND, "unknown": Effect.NOT_FOUND}
    assert found == {name: stays.get(name, Effect.DONE) for name in ids}
    for name in ("completed", "failed", "queued", "cancelled"):
        with pytest.raises(JobNotFoundError):
            await backend.store.get(OWNER, ids[name])
    running = await backend.store.get(OWNER, ids["running"])
    assert running.purge_requested
    await finish(backend.store, running)
    assert await backend.store.existing([ids["running"]]) == frozenset()
    assert not await backend.keeper.find_miscounts()


async def test_a_retry_makes_a_job_of_each_that_has_ended(backend: Backend, hub: EventHub) -> None:
    failed, completed = await ended_job(backend.store, BROKEN), await ended_job(backend.store, DONE)
    active = await running_job(backend.store)
    job = await begun(backend)
    bells = hub.listen(Bell.QUEUED)
    repeated = [failed, completed, active]
    new = {each.id: new_job(retry_of=each.id, by=ANN) for each in repeated}
    step = step_of(
        job,
        ActionKind.RETRY,
        [each.id for each in repeated] + [UNKNOWN_ID],
        repetitions={job_id: (each, None) for job_id, each in new.items()},
    )
    assert await effects(backend, step) == [Effect.DONE, Effect.DONE, Effect.CONFLICT, Effect.NOT_FOUND]
    assert await bells.wait(5) == {new[failed.id].id, new[completed.id].id}
    claims = (await claim_up_to(backend.store, {"report": 9}, 9, seconds=3)).claims
    assert {claim.job.retry_of for claim in claims} == {failed.id, completed.id}


async def test_a_retry_for_which_there_is_no_room_is_refused_by_itself(backend: Backend) -> None:
    await backend.close()
    store = await backend.open(max_queued=3)
    failed = [await ended_job(store, BROKEN) for _ in range(4)]
    await insert_many(store, 1)
    job = await begun(backend)
    repetitions = {each.id: (new_job(retry_of=each.id), None) for each in failed}
    step = step_of(job, ActionKind.RETRY, list(repetitions), repetitions=repetitions)
    handled = await backend.actions.perform(step, told)
    assert [each.effect for each in handled] == [Effect.DONE] * 2 + [Effect.REFUSED] * 2
    assert [type(each.refusal) for each in handled[2:]] == [QueueFullError] * 2
    with pytest.raises(QueueFullError):  # and no place is held any longer than that
        store.check_room(OWNER, "report")
    await store.cancel(OWNER, repetitions[failed[0].id][0].id, at(3))
    store.check_room(OWNER, "report")


async def test_a_job_that_no_longer_matches_the_filter_is_skipped(backend: Backend) -> None:
    queued = await insert_many(backend.store, 2)
    gone = (await insert_many(backend.store, 1, type="other"))[0]
    await claim_one(backend.store)
    await backend.store.delete(OWNER, gone.id, at(1))
    job = await begun(backend)
    waiting = JobFilter(statuses=frozenset({Status.QUEUED}))
    ids = [each.id for each in [*queued, gone]]
    found = await effects(backend, step_of(job, ActionKind.CANCEL, ids, filter=waiting))
    assert found == [Effect.SKIPPED, Effect.DONE, Effect.SKIPPED]
    assert not (await backend.store.get(OWNER, queued[0].id)).cancel_requested


@pytest.mark.parametrize(
    ("filter", "effect"),
    [(None, Effect.NOT_FOUND), (JobFilter(statuses=frozenset({Status.FAILED})), Effect.SKIPPED)],
    ids=["by id", "by filter"],
)
async def test_a_job_that_is_gone_is_not_refused(backend: Backend, filter: JobFilter | None, effect: Effect) -> None:
    """Neither because it cannot be repeated, nor because there is no room for the new job."""
    await backend.close()
    store = await backend.open(max_queued=1)
    failed = [await ended_job(store, BROKEN) for _ in range(4)]
    await insert_many(store, 1)
    job = await begun(backend)
    for each in failed[::2]:
        await store.delete(OWNER, each.id, at(1))
    step = step_of(
        job,
        ActionKind.RETRY,
        [each.id for each in failed],
        filter=filter,
        repetitions={each.id: (new_job(retry_of=each.id), None) for each in failed[:2]},
        refused={each.id: JobTypeUnavailableError("ffmpeg is not installed") for each in failed[2:]},
    )
    handled = await backend.actions.perform(step, told)
    assert [each.effect for each in handled] == [effect, Effect.REFUSED] * 2
    assert [type(each.refusal) for each in handled[1::2]] == [QueueFullError, JobTypeUnavailableError]


async def test_a_running_job_is_found_by_progress_that_is_not_on_disk_yet(backend: Backend) -> None:
    running = await running_job(backend.store)
    job = await begun(backend)
    await backend.store.tick([Tick(running.id, running.attempt, Progress(message="halfway there"))], at(2))
    for word, effect in (("elsewhere", Effect.SKIPPED), ("halfway", Effect.STOPPING)):
        by_word = JobFilter(terms=frozenset({word}))
        assert await effects(backend, step_of(job, ActionKind.CANCEL, [running.id], filter=by_word)) == [effect]


async def test_what_was_done_and_the_checkpoint_survive_together(backend: Backend) -> None:
    jobs = await insert_many(backend.store, 3)
    job = await begun(backend)
    await effects(backend, step_of(job, ActionKind.CANCEL, [each.id for each in jobs[:2]]))
    store, checkpoint = await checkpoint_after_crash(backend)
    assert checkpoint == '{"done":2}'
    statuses = [(await store.get(OWNER, each.id)).status for each in jobs]
    assert statuses == [Status.CANCELLED, Status.CANCELLED, Status.QUEUED]


async def test_a_step_that_fails_leaves_nothing(backend: Backend) -> None:
    def fails(_: Sequence[Handled]) -> str:
        raise ZeroDivisionError

    (queued,) = await insert_many(backend.store, 1)
    failed = await ended_job(backend.store, BROKEN, type="other")
    job = await begun(backend)
    repetitions = {failed.id: (new_job(retry_of=failed.id), None)}
    steps = [
        step_of(job, ActionKind.CANCEL, [queued.id]),
        step_of(job, ActionKind.RETRY, [failed.id], repetitions=repetitions),
    ]
    for step in steps:
        with pytest.raises(ZeroDivisionError):
            await backend.actions.perform(step, fails)
    store, checkpoint = await checkpoint_after_crash(backend)
    assert checkpoint == '{"done":0}'
    assert (await store.get(OWNER, queued.id)).status is Status.QUEUED
    assert await store.existing([repetitions[failed.id][0].id]) == frozenset()


Spoil = Callable[[Backend, Job], Any]


async def cancelled(backend: Backend, job: Job) -> Job:
    await backend.store.cancel(OWNER, job.id, at(1))
    return job


async def stale(backend: Backend, job: Job) -> Job:
    return job._replace(attempt=job.attempt + 1)


async def ended(backend: Backend, job: Job) -> Job:
    await finish(backend.store, job)
    return job


@pytest.mark.parametrize("spoil", [cancelled, stale, ended])
async def test_an_action_that_is_not_current_or_was_cancelled_does_nothing(backend: Backend, spoil: Spoil) -> None:
    (queued,) = await insert_many(backend.store, 1)
    job = await spoil(backend, await begun(backend))
    with pytest.raises(ClaimLostError):
        await backend.actions.perform(step_of(job, ActionKind.CANCEL, [queued.id]), told)
    assert (await backend.store.get(OWNER, queued.id)).status is Status.QUEUED


async def test_an_action_of_an_admin_reaches_the_jobs_of_all_owners(backend: Backend) -> None:
    jobs = [(await insert_many(backend.store, 1, owner=owner))[0] for owner in (OWNER, STRANGER)]
    job = await begun(backend)
    step = step_of(job, ActionKind.CANCEL, [each.id for each in jobs], caller=EVERY_OWNER)
    assert await effects(backend, step) == [Effect.DONE] * 2


async def test_an_owner_has_a_limit_of_actions(backend: Backend) -> None:
    for _ in range(MOST_ACTIVE - 1):
        await backend.actions.insert(action(), "{}")
    answers = await asyncio.gather(*(backend.actions.insert(action(), "{}") for _ in range(3)), return_exceptions=True)
    assert [type(answer) for answer in answers].count(OwnerQueueFullError) == 2
    with pytest.raises(OwnerQueueFullError):
        backend.actions.check_room(OWNER)
    await backend.actions.insert(action(owner=STRANGER), "{}")
    (claim,) = (await claim_up_to(backend.store, {ACTION_TYPE: 1}, 1, seconds=1)).claims
    await finish(backend.store, claim.job)
    backend.actions.check_room(claim.job.owner)


async def test_a_full_queue_and_a_full_quota_do_not_keep_an_action_out(backend: Backend) -> None:
    """It may be what empties them. Beyond the quota, an owner can keep no more actions than can be under way."""
    await backend.close()
    store = await backend.open(max_queued=2, max_queued_per_owner=1, quota=Quota(jobs=1, running=0))
    await store.insert(new_job(owner="ann"))
    for _ in range(MOST_ACTIVE):
        await finish(store, await begun(backend, owner="ann"))
    with pytest.raises(QuotaExceededError):
        await backend.actions.insert(action(owner="ann"), "{}")
    assert not await backend.keeper.find_miscounts()


async def test_an_action_with_a_key_is_recorded_once(backend: Backend) -> None:
    answers = await asyncio.gather(*(backend.actions.insert(action(), "{}", key()) for _ in range(12)))
    (job,) = [answer for answer in answers if isinstance(answer, Job)]
    assert answers.count(FirstSubmission(job.id, "f")) == 11
    for _ in range(MOST_ACTIVE - 1):
        await backend.actions.insert(action(), "{}")
    assert await backend.actions.insert(action(), "{}", key()) == FirstSubmission(job.id, "f")
    with pytest.raises(OwnerQueueFullError):
        await backend.actions.insert(action(), "{}", key("another"))


async def test_an_action_takes_no_place_from_a_quota_of_running_jobs(backend: Backend) -> None:
    await backend.close()
    store = await backend.open(quota=Quota(running=1))
    job = await begun(backend)
    await insert_many(store, 2)
    (claim,) = (await claim_up_to(store, {"report": 9}, 9, seconds=1)).claims
    await finish(store, job)
    assert (await claim_up_to(store, {"report": 9}, 9, seconds=2)).claims == []
    await finish(store, claim.job)
    await begun(backend)
    await backend.crash()
    store = await backend.open(quota=Quota(running=1))
    assert len((await store.recover(at(3), 9)).requeued) == 1
    assert len((await claim_up_to(store, {"report": 9}, 9, seconds=4)).claims) == 1
    assert len((await claim_up_to(store, {ACTION_TYPE: 9}, 9, seconds=4)).claims) == 1
    assert not await backend.keeper.find_miscounts()
