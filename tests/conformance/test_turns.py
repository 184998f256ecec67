"""`Attempts.claim`: within a priority, owners take turns."""

from collections.abc import Mapping

import pytest
from headway.domain.jobs import Job
from headway.domain.outcomes import Interrupted, Retry
from headway.ports.jobs import FreeSlots, JobStore

from tests.conformance.backends import Backend
from tests.conformance.records import ERROR, OWNER, at, claim_one, claim_up_to, finish, insert_many, new_job

ADA, BOB, EVE = "ada", "bob", "eve"


async def claimed(
    store: JobStore, count: int, seconds: float = 1, free: Mapping[str, int] | None = None
) -> list[tuple[str, str]]:
    """Owners and ids of the jobs that are claimed, one after the other."""
    jobs = [(await claim_one(store, seconds, free)).job for _ in range(count)]
    return [(job.owner, job.id) for job in jobs]


async def owners(store: JobStore, count: int, seconds: float = 1, free: Mapping[str, int] | None = None) -> list[str]:
    """The owners of the jobs that are claimed, one after the other."""
    return [owner for owner, _ in await claimed(store, count, seconds, free)]


async def test_owners_take_turns_and_each_owners_jobs_are_claimed_by_age(store: JobStore) -> None:
    mine, theirs = await insert_many(store, 5, owner=ADA), await insert_many(store, 3, owner=BOB)
    taken = await claimed(store, 8)
    assert [owner for owner, _ in taken] == [ADA, BOB, ADA, BOB, ADA, BOB, ADA, ADA]
    for owner, jobs in ((ADA, mine), (BOB, theirs)):
        assert [job_id for whose, job_id in taken if whose == owner] == [job.id for job in jobs]


async def test_one_claim_of_many_slots_takes_turns_too(store: JobStore) -> None:
    await insert_many(store, 50, owner=ADA)
    await insert_many(store, 2, owner=BOB)
    claims = await claim_up_to(store, {"report": 6}, 6, seconds=1)
    assert [claim.job.owner for claim in claims.claims] == [ADA, BOB, ADA, BOB, ADA, ADA]


async def test_the_first_job_of_an_owner_is_next_however_many_another_has_queued(store: JobStore) -> None:
    await insert_many(store, 500, owner=ADA)
    assert set(await owners(store, 20)) == {ADA}
    await insert_many(store, 2, owner=BOB)
    await insert_many(store, 1, owner=EVE)
    assert await owners(store, 6) == [BOB, EVE, ADA, BOB, ADA, ADA]


async def test_an_owner_who_submits_whenever_one_of_their_jobs_begins_gets_every_other_slot(store: JobStore) -> None:
    await insert_many(store, 20, owner=ADA)
    await claimed(store, 3)
    taken = [BOB]
    for _ in range(8):
        if taken[-1] == BOB:
            await store.insert(new_job(owner=BOB))
        taken += await owners(store, 1)
    assert taken[1:] == [BOB, ADA] * 4


async def test_newcomers_are_claimed_in_the_order_in_which_they_came(store: JobStore) -> None:
    await insert_many(store, 20, owner=ADA)
    await claimed(store, 5)
    for owner in (BOB, EVE, "dan", "kim"):
        await store.insert(new_job(owner=owner))
    assert await owners(store, 5) == [BOB, EVE, "dan", "kim", ADA]


async def test_a_higher_priority_comes_before_any_turn(store: JobStore) -> None:
    await insert_many(store, 3, owner=ADA, priority=1)
    await insert_many(store, 3, owner=BOB)
    assert await owners(store, 6) == [ADA, ADA, ADA, BOB, BOB, BOB]


async def test_a_delayed_job_gets_its_turn_when_it_falls_due(store: JobStore) -> None:
    await insert_many(store, 3, owner=ADA, run_at=at(50))
    await insert_many(store, 6, owner=BOB)
    assert await owners(store, 2, 49) == [BOB, BOB]
    assert await owners(store, 7, 50) == [ADA, BOB, ADA, BOB, ADA, BOB, BOB]


async def test_jobs_that_fall_due_are_before_those_submitted_later(store: JobStore) -> None:
    delayed = await insert_many(store, 2, owner=ADA, run_at=at(50))
    later = await store.insert(new_job(60, owner=ADA))
    assert [job_id for _, job_id in await claimed(store, 3, 60)] == [job.id for job in (*delayed, later)]


async def test_a_retry_takes_a_new_turn_and_an_interrupted_job_goes_first(store: JobStore) -> None:
    retried, interrupted, *_ = await insert_many(store, 4, owner=ADA)
    claims = (await claim_up_to(store, {"report": 2}, 2, seconds=1)).claims
    await insert_many(store, 3, owner=BOB)
    await finish(store, claims[0].job, Retry(ERROR, at(5)), 2)
    await finish(store, claims[1].job, Interrupted(), 2)
    taken = await claimed(store, 7, 9)
    assert taken[0] == (ADA, interrupted.id)
    assert taken[-1] == (ADA, retried.id)
    assert [owner for owner, _ in taken[1:]] == [BOB, ADA, BOB, ADA, BOB, ADA]


@pytest.mark.parametrize("crash", [False, True])
async def test_turns_are_kept_over_a_restart(backend: Backend, crash: bool) -> None:
    store = backend.store
    await insert_many(store, 6, owner=ADA)
    assert await owners(store, 2) == [ADA, ADA]
    await insert_many(store, 2, owner=BOB)
    await (backend.crash() if crash else backend.close())
    store = await backend.open()
    await insert_many(store, 1, owner=EVE)
    await insert_many(store, 1, owner=BOB)
    assert await owners(store, 8) == [BOB, EVE, ADA, BOB, ADA, BOB, ADA, ADA]


async def test_a_type_at_its_limit_holds_up_no_turns_of_others(backend: Backend) -> None:
    await backend.close()
    store = await backend.open(sharing=[{"limited", "free"}])
    await insert_many(store, 5, owner=ADA, type="limited")
    free = {"free": 1}
    await insert_many(store, 40, owner=BOB, type="free")
    await claimed(store, 20, free=free)
    await insert_many(store, 3, owner=EVE, type="free")  # new: but not with the turns that `limited` waits for
    assert await owners(store, 4, free=free) == [EVE, BOB, EVE, BOB]
    await insert_many(store, 1, owner="dan", type="limited")
    assert await owners(store, 2, free={"limited": 1}) == [ADA, "dan"]


async def test_a_newcomer_of_a_type_that_has_fallen_behind_comes_in_front_of_its_other_jobs(backend: Backend) -> None:
    await backend.close()
    store = await backend.open(sharing=[{"limited", "free"}])
    await insert_many(store, 5, owner=ADA, type="limited")
    assert await owners(store, 1, free={"limited": 1}) == [ADA]
    await insert_many(store, 40, owner=BOB, type="free")
    await claimed(store, 20, free={"free": 1})
    await insert_many(store, 1, owner="dan", type="limited")
    assert await owners(store, 2, free={"limited": 1}) == ["dan", ADA]


async def test_each_pool_has_turns_of_its_own(backend: Backend) -> None:
    await backend.close()
    store = await backend.open(sharing=[{"task"}, {"process"}])
    await insert_many(store, 9, owner=ADA, type="process")
    await insert_many(store, 9, owner=BOB, type="task")
    await insert_many(store, 2, owner=ADA, type="task")
    claims = await store.claim([FreeSlots(4, {"task": 4}), FreeSlots(1, {"process": 1})], at(1))
    assert sorted(claim.job.owner for claim in claims.claims if claim.job.type == "task") == [ADA, ADA, BOB, BOB]


@pytest.mark.parametrize("crash", [False, True])
async def test_queued_jobs_of_a_type_that_moves_to_another_pool_get_turns_there(backend: Backend, crash: bool) -> None:
    await backend.close()
    store = await backend.open(sharing=[{"task"}, {"process", "moving"}])
    await insert_many(store, 60, owner=ADA, type="process")
    assert set(await owners(store, 50, free={"process": 1})) == {ADA}
    (interrupted,) = await insert_many(store, 1, owner=EVE, type="moving")
    await finish(store, (await claim_one(store, 2, {"moving": 1})).job, Interrupted(), 2)
    mine = [await store.insert(new_job(owner=EVE, type="moving")) for _ in range(3)]
    theirs = [await store.insert(new_job(owner="dan", type="moving")) for _ in range(3)]
    await insert_many(store, 9, owner=BOB, type="task")
    await (backend.crash() if crash else backend.close())
    store = await backend.open(sharing=[{"task", "moving"}, {"process"}])
    free = {"task": 1, "moving": 1}
    taken = await claimed(store, 16, 3, free)
    assert taken[0] == (EVE, interrupted.id)
    assert [owner for owner, _ in taken[1:10]] == [EVE, "dan", BOB] * 3
    assert [job_id for owner, job_id in taken[1:] if owner == EVE] == [job.id for job in mine]
    assert [job_id for owner, job_id in taken if owner == "dan"] == [job.id for job in theirs]
    await insert_many(store, 2, owner=BOB, type="process")
    assert await owners(store, 3, free={"process": 1}) == [ADA, BOB, ADA], "those that stayed have their turns"


async def test_a_type_that_is_not_served_for_a_while_keeps_its_turns(backend: Backend) -> None:
    await backend.close()
    store = await backend.open(sharing=[{"task"}, {"process"}])
    await insert_many(store, 9, owner=ADA, type="task")
    assert await owners(store, 5, free={"task": 1}) == [ADA] * 5
    await insert_many(store, 2, owner=BOB, type="task")
    for sharing in ([set(), {"process"}], [], [{"task"}, {"process"}]):
        await backend.close()
        store = await backend.open(sharing=sharing)
    assert await owners(store, 4, free={"task": 1}) == [BOB, ADA, BOB, ADA]


async def test_the_turns_of_cancelled_jobs_count_for_nothing(store: JobStore) -> None:
    cancelled = await insert_many(store, 30, owner=ADA)
    await insert_many(store, 5, owner=BOB)
    for job in cancelled:
        await store.cancel(ADA, job.id, at(1))
    await insert_many(store, 1, owner=ADA)
    assert (await owners(store, 3)).count(ADA) == 1


async def test_a_queue_position_tells_nothing_about_other_owners(store: JobStore) -> None:
    async def places(jobs: list[Job]) -> list[int | None]:
        return [await store.queue_position(job, at(10)) for job in jobs]

    await insert_many(store, 50, owner=BOB, priority=3)
    jobs = await insert_many(store, 3, owner=ADA)
    await insert_many(store, 50, owner=BOB)
    assert await places(jobs) == [1, 2, 3]
    newcomers = [await store.insert(new_job(9, owner=ADA)), await store.insert(new_job(9, owner=OWNER))]
    assert await places(newcomers) == [4, 1]
