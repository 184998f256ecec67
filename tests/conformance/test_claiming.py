"""`Attempts.claim`: which job runs next, and that no job is run twice at once."""

import asyncio
import random
from collections import Counter

import pytest
from headway.domain.jobs import Status
from headway.domain.outcomes import Interrupted
from headway.domain.progress import Progress
from headway.errors import ClaimLostError
from headway.ports.events import Bell, EventHub
from headway.ports.jobs import FreeSlots, JobStore, LogBatch

from tests.conformance.backends import Backend
from tests.conformance.records import (
    DONE,
    OWNER,
    at,
    claim_one,
    claim_up_to,
    ended_job,
    finish,
    insert_many,
    line,
    new_job,
    running_job,
    tick,
    write_log,
)


async def test_a_claimed_job_runs(store: JobStore, hub: EventHub) -> None:
    new = new_job(input_json='{"width":3}')
    queued = await store.insert(new)
    changed = hub.listen(Bell.CHANGED, new.id)
    claim = await claim_one(store, 2)
    job = claim.job
    assert (job.id, job.status, job.attempt, job.started_at) == (new.id, Status.RUNNING, 1, at(2))
    assert (claim.input_json, claim.checkpoint_json) == ('{"width":3}', None)
    assert job.version > queued.version
    assert (job.last_seq, job.state_seq) == (2, 2)
    assert await store.get(OWNER, new.id) == job
    assert await changed.wait(5) == {new.id}
    assert (await store.counts(OWNER)).by_type == {"report": {Status.RUNNING: 1}}


async def test_a_job_claimed_right_after_its_insert_is_running_for_every_reader(store: JobStore) -> None:
    for _ in range(10):
        claiming = asyncio.create_task(claim_up_to(store, {"report": 1}, 1, seconds=2))
        await asyncio.sleep(0)
        inserted = await store.insert(new_job())
        claimed = [claim.job for claim in (await claiming).claims] or [(await claim_one(store, 2)).job]
        assert await store.get(OWNER, inserted.id) == claimed[0]


async def test_claims_of_one_owner_are_by_priority_then_by_age(store: JobStore) -> None:
    chance = random.Random(1)
    news = [
        new_job(seconds, type=chance.choice("ab"), priority=chance.choice((-100, -1, 0, 1, 100)), run_at=at(run_at))
        for seconds in range(40)
        for run_at in [seconds + chance.choice((0, 0, 7.5, 90))]
    ]
    for new in news:
        await store.insert(new)
    claims = await claim_up_to(store, {"a": 100, "b": 100}, 100, seconds=200)
    expected = sorted(news, key=lambda new: (-new.priority, new.run_at, new.id))
    assert [claim.job.id for claim in claims.claims] == [new.id for new in expected]


async def test_priorities_compare_across_job_types(store: JobStore) -> None:
    low = await store.insert(new_job(0, type="a", priority=0))
    high = await store.insert(new_job(1, type="b", priority=5))
    middle = await store.insert(new_job(2, type="a", priority=3))
    claims = await claim_up_to(store, {"a": 5, "b": 5}, 2, seconds=10)
    assert [claim.job.id for claim in claims.claims] == [high.id, middle.id]
    assert (await store.get(OWNER, low.id)).status is Status.QUEUED


async def test_a_job_is_not_claimed_before_its_run_at(store: JobStore) -> None:
    later = await store.insert(new_job(0, run_at=at(60)))
    sooner = await store.insert(new_job(1, run_at=at(30)))
    early = await claim_up_to(store, {"report": 5}, 5, seconds=29.999)
    assert (early.claims, early.next_run_at) == ([], at(30))
    due = await claim_up_to(store, {"report": 5}, 5, seconds=30)
    assert [claim.job.id for claim in due.claims] == [sooner.id]
    assert due.next_run_at == at(60)
    last = await claim_up_to(store, {"report": 5}, 5, seconds=61)
    assert [claim.job.id for claim in last.claims] == [later.id]
    assert last.next_run_at is None


async def test_the_next_run_at_is_found_among_all_priorities(store: JobStore) -> None:
    await store.insert(new_job(0, priority=9, run_at=at(50)))
    await store.insert(new_job(0, priority=-9, run_at=at(20)))
    await store.insert(new_job(0, priority=0))
    claims = await claim_up_to(store, {"report": 1}, 1, seconds=1)
    assert len(claims.claims) == 1
    assert claims.next_run_at == at(20)


async def test_a_type_is_not_claimed_beyond_its_free_slots(store: JobStore) -> None:
    await insert_many(store, 5, type="a", priority=9)
    await insert_many(store, 5, type="b")
    await insert_many(store, 5, type="never")
    claims = await claim_up_to(store, {"a": 2, "b": 9, "absent": 4}, 6, seconds=1)
    assert Counter(claim.job.type for claim in claims.claims) == {"a": 2, "b": 4}
    rest = await claim_up_to(store, {"a": 9, "b": 9}, 100, seconds=1)
    assert Counter(claim.job.type for claim in rest.claims) == {"a": 3, "b": 1}


@pytest.mark.parametrize(("free", "limit"), [({"report": 0}, 5), ({"report": -1}, 5), ({"report": 5}, 0), ({}, 5)])
async def test_without_a_free_slot_nothing_is_claimed(store: JobStore, free: dict[str, int], limit: int) -> None:
    await insert_many(store, 3)
    assert (await claim_up_to(store, free, limit, seconds=1)).claims == []
    assert (await store.counts(OWNER)).by_type == {"report": {Status.QUEUED: 3}}


async def test_one_claim_fills_every_pool_however_long_the_queue_of_another_is(store: JobStore) -> None:
    tasks = await insert_many(store, 60, type="task", priority=9)
    processes = await insert_many(store, 3, type="process")
    claims = await store.claim([FreeSlots(2, {"task": 2}), FreeSlots(2, {"process": 2})], at(1))
    assert [claim.job.id for claim in claims.claims] == [job.id for job in [*tasks[:2], *processes[:2]]]
    assert {claim.job.started_at for claim in claims.claims} == {at(1)}


async def test_a_pool_without_a_free_slot_leaves_its_jobs_in_the_queue_and_fills_the_others(store: JobStore) -> None:
    await insert_many(store, 60, type="process", priority=9)
    task = await store.insert(new_job(type="task"))
    claims = await store.claim([FreeSlots(0, {"process": 4}), FreeSlots(2, {"task": 2, "process-too": 2})], at(1))
    assert [claim.job.id for claim in claims.claims] == [task.id]
    assert (await store.counts(OWNER)).by_type["process"] == {Status.QUEUED: 60}


async def test_each_pool_has_its_own_limits_and_order_and_the_whole_claim_is_sorted(store: JobStore) -> None:
    expected = [
        await store.insert(new_job(3, type="b", priority=7)),
        await store.insert(new_job(2, type="x", priority=6)),
        await store.insert(new_job(1, type="a", priority=5)),
        await store.insert(new_job(0, type="x", priority=1)),
    ]
    await store.insert(new_job(4, type="b", priority=7))  # beyond the slots of its type
    await store.insert(new_job(0, type="a"))  # beyond those of the pool
    await store.insert(new_job(9, type="x"))
    claims = await store.claim([FreeSlots(2, {"a": 2, "b": 1}), FreeSlots(2, {"x": 9})], at(10))
    assert [claim.job.id for claim in claims.claims] == [job.id for job in expected]


async def test_the_next_run_at_is_found_among_all_pools(store: JobStore) -> None:
    await store.insert(new_job(0, type="task", run_at=at(50)))
    await store.insert(new_job(0, type="process", run_at=at(20)))
    pools = [FreeSlots(1, {"task": 1}), FreeSlots(1, {"process": 1})]
    assert (await store.claim(pools, at(1))).next_run_at == at(20)
    assert (await store.claim(pools[:1], at(1))).next_run_at == at(50)


async def test_simultaneous_claims_never_return_the_same_job(store: JobStore) -> None:
    jobs = await insert_many(store, 60)
    answers = await asyncio.gather(*(claim_up_to(store, {"report": 4}, 4, seconds=1) for _ in range(20)))
    claimed = [claim.job.id for claims in answers for claim in claims.claims]
    assert sorted(claimed) == sorted(job.id for job in jobs)


async def test_a_new_attempt_starts_without_the_progress_of_the_last(store: JobStore) -> None:
    job = await running_job(store)
    await tick(store, job, 60.0)
    await finish(store, job, Interrupted(), progress=Progress(percent=60.0, done=6, unit="rows"))
    again = (await claim_one(store, 5)).job
    assert (again.attempt, again.started_at, again.progress) == (2, at(5), Progress())


async def test_a_stale_attempt_cannot_change_a_job(store: JobStore) -> None:
    stale = await running_job(store)
    await finish(store, stale, Interrupted(crashed=True))
    current = (await claim_one(store, 5)).job
    await store.checkpoint(current.id, current.attempt, '"mine"')
    before = await store.get(OWNER, current.id)
    with pytest.raises(ClaimLostError):
        await finish(store, stale, DONE, progress=Progress(percent=99.0), lines=[line("late")])
    with pytest.raises(ClaimLostError):
        await store.checkpoint(stale.id, stale.attempt, '"late"')
    await tick(store, stale, 88.0)
    await write_log(store, stale, "late")
    assert await store.get(OWNER, current.id) == before
    assert await store.logs(current.id, 0, 100, 100) == []
    await finish(store, current, Interrupted())
    assert (await claim_one(store, 9)).checkpoint_json == '"mine"'


async def test_an_attempt_cannot_change_a_job_that_has_ended(store: JobStore) -> None:
    job = await ended_job(store)
    with pytest.raises(ClaimLostError):
        await finish(store, job, DONE)
    with pytest.raises(ClaimLostError):
        await store.checkpoint(job.id, job.attempt, "1")
    await tick(store, job, 5.0)
    await write_log(store, job, "late")
    assert await store.get(OWNER, job.id) == job


async def test_an_attempt_cannot_change_a_deleted_job(store: JobStore) -> None:
    job = await ended_job(store)
    await store.delete(OWNER, job.id, at(2))
    with pytest.raises(ClaimLostError):
        await finish(store, job, DONE)
    with pytest.raises(ClaimLostError):
        await store.checkpoint(job.id, job.attempt, "1")
    await tick(store, job, 5.0)
    await write_log(store, job, "late")
    assert await store.existing([job.id]) == frozenset()
    assert await store.logs(job.id, 0, 100, 100) == []


async def test_a_stale_log_batch_does_not_affect_the_others(store: JobStore) -> None:
    stale, good = await running_job(store), await running_job(store)
    await finish(store, stale)
    await store.append_logs([LogBatch(stale.id, 1, [line("late")]), LogBatch(good.id, 1, [line("in time")])])
    assert [said.message for said in await store.logs(good.id, 0, 100, 100)] == ["in time"]
    assert await store.logs(stale.id, 0, 100, 100) == []


async def test_the_median_run_time_of_completed_jobs_is_known(store: JobStore) -> None:
    assert store.median_run_s("report") is None
    for run_s in (5, 1, 300):
        await finish(store, await running_job(store), DONE, run_s)
    assert store.median_run_s("report") == 5
    assert store.median_run_s("import") is None


async def test_the_queue_position_is_estimated(store: JobStore) -> None:
    jobs = await insert_many(store, 3)
    first = await store.insert(new_job(5, priority=1))
    running = await running_job(store, 5, type="import")
    now = at(10)
    assert await store.queue_position(first, now) == 1
    assert [await store.queue_position(job, now) for job in jobs] == [2, 3, 4]
    assert await store.queue_position(running, now) is None
    newcomer = await store.insert(new_job(9))
    assert await store.queue_position(newcomer, now) == 5
    later = await store.insert(new_job(9, run_at=at(900)))
    assert await store.queue_position(later, now) is None
    await claim_up_to(store, {"report": 9}, 9, seconds=10)
    assert await store.queue_position(newcomer._replace(id=later.id), now) == 1  # read before it was claimed


async def test_a_queue_position_counts_only_jobs_that_share_slots_with_the_job(backend: Backend) -> None:
    await backend.close()
    store = await backend.open(sharing=[{"task", "other-task"}, {"process"}])
    await insert_many(store, 40, type="process", priority=9)
    tasks = [await store.insert(new_job(type=job_type)) for job_type in ("task", "other-task")]
    unknown = await store.insert(new_job(type="of-an-earlier-version"))
    now = at(10)
    assert [await store.queue_position(job, now) for job in [*tasks, unknown]] == [1, 2, 1]
    newcomers = [await store.insert(new_job(9, type=job_type)) for job_type in ("other-task", "process")]
    assert [await store.queue_position(job, now) for job in newcomers] == [3, 41]


async def test_simultaneous_first_readers_all_get_an_exact_queue_position(store: JobStore) -> None:
    jobs = await insert_many(store, 20)
    places = await asyncio.gather(*(store.queue_position(job, at(1)) for job in jobs))
    assert places == list(range(1, 21))


async def test_there_is_no_queue_position_beyond_a_thousand(store: JobStore) -> None:
    jobs = sorted(await insert_many(store, 1_003), key=lambda job: job.id)
    places = [await store.queue_position(job, at(1)) for job in jobs[-5:]]
    assert places == [999, 1_000, None, None, None]
