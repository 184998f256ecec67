"""Quotas of running jobs: of an owner, and of a key, so many run at once. Their others wait, those of others do not."""

import asyncio
from collections.abc import Mapping

import pytest
from headway.domain.access import ApiKey
from headway.domain.jobs import Job
from headway.domain.outcomes import Failed, Interrupted, Retry
from headway.ports.events import Bell
from headway.ports.jobs import FreeSlots, JobStore
from headway.quotas import NO_QUOTA, Quota

from tests.conformance.backends import Backend
from tests.conformance.records import DONE, ERROR, at, claim_one, claim_up_to, finish, insert_many, new_job

ADA, BOB = "ada", "bob"
KEY = ApiKey("key-of-ada", "ada", ADA, read_only=False, admin=False, created_at=at(0))
NONE = Quota(running=0)


async def with_quota(backend: Backend, quota: Quota) -> JobStore:
    await backend.close()
    return await backend.open(quota=quota)


async def claim_all(store: JobStore, seconds: float = 1, free: Mapping[str, int] | None = None) -> list[Job]:
    """All that may start, in one claim."""
    return [claim.job for claim in (await claim_up_to(store, free or {"report": 99}, 99, seconds)).claims]


def ids(jobs: list[Job]) -> list[str]:
    return [job.id for job in jobs]


@pytest.mark.parametrize("at_once", [True, False])
async def test_no_more_jobs_of_an_owner_run_than_may_and_others_are_not_held_back(
    backend: Backend, at_once: bool
) -> None:
    store = await with_quota(backend, Quota(running=2))
    mine = await insert_many(store, 50, owner=ADA)
    theirs = await insert_many(store, 3, owner=BOB)
    if at_once:
        taken = await claim_all(store)
    else:
        taken = [(await claim_one(store)).job for _ in range(4)]
    assert ids(taken) == [mine[0].id, theirs[0].id, mine[1].id, theirs[1].id]
    assert await claim_all(store) == []
    assert store.account(ADA).used.running == store.account(ADA).quota.running == 2
    await finish(store, taken[0])
    assert ids(await claim_all(store)) == [mine[2].id]


@pytest.mark.parametrize("outcome", [DONE, Failed(ERROR), Retry(ERROR, at(90))])
async def test_the_next_starts_whatever_the_end_of_the_one_before(backend: Backend, outcome: Failed | Retry) -> None:
    store = await with_quota(backend, Quota(running=1))
    jobs = await insert_many(store, 3)
    running = (await claim_one(store)).job
    await finish(store, running, outcome)
    assert ids(await claim_all(store)) == [jobs[1].id]


async def test_what_was_interrupted_comes_first_again(backend: Backend) -> None:
    store = await with_quota(backend, Quota(running=1))
    await insert_many(store, 3)
    running = (await claim_one(store)).job
    await finish(store, running, Interrupted())
    assert ids(await claim_all(store)) == [running.id]


async def test_a_retry_waits_for_a_place_like_any_other(backend: Backend) -> None:
    store = await with_quota(backend, Quota(running=1))
    retried, other, _ = await insert_many(store, 3)
    await finish(store, (await claim_one(store)).job, Retry(ERROR, at(5)), 1)
    assert ids(await claim_all(store, 2)) == [other.id]
    assert await claim_all(store, 6) == []
    await store.cancel(retried.owner, other.id, at(7))
    assert await claim_all(store, 7) == [], "the cancelled job runs until its attempt has ended"


async def test_a_job_that_is_due_later_takes_no_place_before(backend: Backend) -> None:
    store = await with_quota(backend, Quota(running=1))
    later = await store.insert(new_job(run_at=at(5)))
    job = await store.insert(new_job())
    assert ids(await claim_all(store)) == [job.id]
    assert await claim_all(store, 6) == []
    await finish(store, (await store.get(job.owner, job.id)), DONE, 6)
    assert ids(await claim_all(store, 7)) == [later.id]


async def test_the_quota_of_a_key_counts_what_runs_with_it(backend: Backend) -> None:
    store, keys = backend.store, await backend.keys()
    await keys.add(KEY, "sum", Quota(running=1))
    await keys.set_owner_quota(ADA, Quota(running=3))
    with_key = await insert_many(store, 3, owner=ADA, key_id=KEY.id)
    without = await insert_many(store, 5, owner=ADA)
    taken = await claim_all(store)
    assert ids(taken) == [with_key[0].id, without[0].id, without[1].id]
    await finish(store, taken[1])
    assert ids(await claim_all(store)) == [without[2].id], "the key has no place, though its jobs are older"
    await finish(store, taken[0])
    assert ids(await claim_all(store)) == [with_key[1].id]


async def test_a_new_quota_of_a_key_does_not_count_what_runs_with_another(backend: Backend) -> None:
    store, keys = backend.store, await backend.keys()
    await keys.add(KEY, "sum")
    await insert_many(store, 1, owner=ADA, key_id="another-key")
    await claim_one(store)
    await keys.set_quota(KEY.name, Quota(running=1))
    (job,) = await insert_many(store, 1, owner=ADA, key_id=KEY.id)
    assert ids(await claim_all(store)) == [job.id]


async def test_a_key_without_a_quota_is_not_limited_by_the_one_of_every_owner(backend: Backend) -> None:
    store = await with_quota(backend, Quota(running=1))
    await (await backend.keys()).set_owner_quota(ADA, Quota(running=3))
    jobs = await insert_many(store, 3, owner=ADA, key_id=KEY.id)
    assert ids(await claim_all(store)) == ids(list(jobs))


async def test_a_new_quota_of_a_key_lets_the_first_in_its_queue_start(backend: Backend) -> None:
    store, keys = backend.store, await backend.keys()
    await keys.add(KEY, "sum")
    jobs = await insert_many(store, 3, owner=ADA, key_id=KEY.id)
    await keys.set_quota(KEY.name, Quota(running=1))
    assert ids(await claim_all(store)) == [jobs[0].id]


async def test_a_type_without_slots_keeps_no_place_from_another(backend: Backend) -> None:
    """Also if jobs of the first were there before, and if a key holds up jobs that are open already."""
    store, keys = await with_quota(backend, Quota(running=2)), await backend.keys()
    await keys.add(KEY, "sum", Quota(running=1))
    slow = await insert_many(store, 5, type="slow", key_id=KEY.id)
    fast = await insert_many(store, 5, type="fast")
    assert ids(await claim_all(store, free={"fast": 9})) == ids(fast[:2])
    await finish(store, await store.get(fast[0].owner, fast[0].id))
    assert ids(await claim_all(store, free={"slow": 9, "fast": 9})) == ids(slow[:1])
    await finish(store, await store.get(fast[1].owner, fast[1].id))
    assert ids(await claim_all(store, free={"slow": 9, "fast": 9})) == ids(fast[2:3])


async def test_jobs_that_their_key_holds_up_take_no_place_of_their_owner(backend: Backend) -> None:
    store, keys = await with_quota(backend, Quota(running=2)), await backend.keys()
    await keys.add(KEY, "sum", Quota(running=1))
    await store.insert(new_job(type="slow", key_id=KEY.id))
    await store.insert(new_job(type="fast", key_id=KEY.id))
    assert [job.type for job in await claim_all(store, free={"slow": 1})] == ["slow"]
    free = await store.insert(new_job(type="fast"))
    assert ids(await claim_all(store, free={"fast": 9})) == [free.id]


async def test_what_was_interrupted_and_has_no_place_now_comes_before_all_others_when_it_has(backend: Backend) -> None:
    store, keys = await with_quota(backend, Quota(running=2)), await backend.keys()
    mine = await insert_many(store, 2, owner=ADA)
    running = await claim_all(store)
    await insert_many(store, 5, owner=BOB)
    await keys.set_owner_quota(ADA, Quota(running=1))
    for job in running:
        await finish(store, job, Interrupted())
    for job in mine:
        assert (await claim_one(store)).job.id == job.id
        await finish(store, await store.get(ADA, job.id))


async def test_what_was_interrupted_comes_first_also_after_a_limit_that_came_and_went(backend: Backend) -> None:
    store, keys = backend.store, await backend.keys()
    await insert_many(store, 3, owner=ADA)
    *_, last = await claim_all(store)
    await store.insert(new_job(-5, owner=BOB))
    await finish(store, last, Interrupted())
    await keys.set_owner_quota(ADA, NONE)
    await keys.set_owner_quota(ADA, NO_QUOTA)
    assert (await claim_one(store)).job.id == last.id


async def test_a_higher_priority_goes_first(backend: Backend) -> None:
    store = await with_quota(backend, Quota(running=1))
    await insert_many(store, 3)
    early = await store.insert(new_job(priority=5))
    running = (await claim_one(store)).job
    assert running.id == early.id
    late = await store.insert(new_job(priority=7))
    await finish(store, running)
    assert ids(await claim_all(store)) == [late.id]


async def test_a_place_is_given_to_the_next_if_the_one_in_front_is_cancelled(backend: Backend) -> None:
    store = await with_quota(backend, Quota(running=1))
    first, second, third = await insert_many(store, 3)
    await store.cancel(first.owner, first.id, at(1))
    await store.delete(second.owner, second.id, at(1))
    assert ids(await claim_all(store)) == [third.id]


async def test_a_limit_is_raised_lowered_and_lifted_while_jobs_run(backend: Backend) -> None:
    store, keys = backend.store, await backend.keys()
    jobs = await insert_many(store, 30, owner=ADA)
    await keys.set_owner_quota(ADA, Quota(running=2))
    taken = await claim_all(store)
    assert ids(taken) == ids(jobs[:2])
    listener = backend.hub.listen(Bell.QUEUED)
    await keys.set_owner_quota(ADA, Quota(running=5))
    assert await listener.wait(0), "the engine is told that there is more to claim"
    taken += await claim_all(store)
    assert ids(taken) == ids(jobs[:5])
    await keys.set_owner_quota(ADA, Quota(running=1))
    assert store.account(ADA).used.running == 5, "those that run go on"
    for job in taken[:4]:
        await finish(store, job)
        assert await claim_all(store) == []
    await finish(store, taken[4])
    assert ids(await claim_all(store)) == [jobs[5].id]
    await keys.set_owner_quota(ADA, NO_QUOTA)
    assert ids(await claim_all(store)) == ids(jobs[6:])


async def test_with_a_limit_of_none_everything_waits(backend: Backend) -> None:
    store, keys = await with_quota(backend, NONE), await backend.keys()
    jobs = await insert_many(store, 3, owner=ADA)
    assert await claim_all(store) == []
    await keys.set_owner_quota(ADA, NO_QUOTA)
    assert ids(await claim_all(store)) == ids(jobs)


@pytest.mark.parametrize("crash", [False, True])
async def test_the_limit_holds_over_a_restart(backend: Backend, crash: bool) -> None:
    store = await with_quota(backend, Quota(running=2))
    jobs = await insert_many(store, 6, owner=ADA)
    await claim_all(store)
    await (backend.crash() if crash else backend.close())
    store = await backend.open(quota=Quota(running=2))
    assert await claim_all(store) == [], "two still run, as far as the record knows"
    await store.recover(at(2), 9)
    assert ids(await claim_all(store)) == ids(jobs[:2])
    await backend.close()
    store = await backend.open(quota=Quota(running=1))
    await store.recover(at(2), 9)
    taken = await claim_all(store)
    assert ids(taken) == ids(jobs[:1])
    await finish(store, taken[0])
    assert ids(await claim_all(store)) == [jobs[1].id], "what was interrupted comes first"
    await backend.close()
    store = await backend.open()
    await store.recover(at(3), 9)
    assert ids(await claim_all(store)) == ids(jobs[1:])


async def test_places_in_the_queue_go_on_counting_those_that_wait_for_a_limit(backend: Backend) -> None:
    store = await with_quota(backend, Quota(running=1))
    jobs = await insert_many(store, 4)
    first = await store.insert(new_job(priority=1))
    assert [await store.queue_position(job, at(9)) for job in (first, *jobs)] == [1, 2, 3, 4, 5]


async def test_one_whose_jobs_wait_for_a_limit_has_saved_up_no_turns(backend: Backend) -> None:
    store, keys = backend.store, await backend.keys()
    await keys.set_owner_quota(ADA, Quota(running=1))
    await insert_many(store, 30, owner=ADA)
    running = (await claim_one(store)).job
    await insert_many(store, 30, owner=BOB)
    for _ in range(10):
        await claim_one(store)
    await finish(store, running)
    owners = []
    for _ in range(6):
        job = (await claim_one(store)).job
        owners.append(job.owner)
        if job.owner == ADA:
            await finish(store, job)
    assert owners == [ADA, ADA, BOB, ADA, BOB, ADA]


async def test_doctor_finds_jobs_that_wait_for_no_limit(backend: Backend) -> None:
    store = await with_quota(backend, Quota(running=1))
    await insert_many(store, 3, owner=ADA)
    assert not await backend.keeper.find_miscounts()
    await claim_all(store)
    assert not await backend.keeper.find_miscounts()


async def test_ends_and_claims_of_one_moment_pass_no_limit(backend: Backend) -> None:
    store = await with_quota(backend, Quota(running=3))
    await insert_many(store, 40, owner=ADA)
    running = await claim_all(store)
    while running:
        claiming = asyncio.create_task(store.claim([FreeSlots(9, {"report": 9})], at(2)))
        await asyncio.gather(*(finish(store, job) for job in running))
        claims = await claiming
        running = [claim.job for claim in claims.claims] or await claim_all(store)
        assert len(running) <= 3
    assert store.account(ADA).used.queued == store.account(ADA).used.running == 0
