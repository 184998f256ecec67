"""`Editing.edit`: what a client changes about a job that was accepted, and where a queued job goes then."""

import asyncio
import random
from collections.abc import Collection
from contextlib import closing
from datetime import datetime
from functools import partial
from typing import Any

import pytest
from headway.domain.filters import JobFilter
from headway.domain.jobs import Edit, Job
from headway.domain.outcomes import Interrupted, Retry
from headway.domain.progress import Progress
from headway.errors import EditedMeanwhileError, JobNotFoundError, JobStateError
from headway.ports.editing import WantedEdit
from headway.ports.events import Bell
from headway.ports.jobs import JobStore
from headway.quotas import Quota

from tests.conformance.backends import Backend
from tests.conformance.records import (
    DAY_S,
    ERROR,
    OWNER,
    STRANGER,
    UNKNOWN_ID,
    at,
    claim_up_to,
    ended_job,
    finish,
    insert_many,
    new_job,
    running_job,
    tick,
)


def changed(job: Job, **fields: Any) -> Edit:
    return job.editable._replace(**fields)


async def edit(
    store: JobStore, job_id: str, tags: Collection[str] | None = None, now: datetime | None = None, **fields: Any
) -> Job:
    return await store.edit(WantedEdit(OWNER, job_id, partial(changed, **fields), now or at(1), None, tags))


async def claimed(store: JobStore, count: int = 99, seconds: float = 9) -> list[str]:
    return [claim.job.id for claim in (await claim_up_to(store, {"report": count}, count, seconds)).claims]


async def test_an_edit_is_a_new_version_with_a_new_tag_and_survives_a_crash(backend: Backend) -> None:
    job = await backend.store.insert(new_job(label="one", metadata=(("order", "1"),)))
    assert job.edit_tag == "e0"
    fields: dict[str, Any] = {
        "label": "two",
        "priority": 7,
        "run_at": at(5),
        "retain_s": 60.0,
        "metadata": (("a", "b"),),
    }
    edited = await edit(backend.store, job.id, **fields)
    assert edited == job._replace(**fields, edits=1, version=job.version + 1, updated_at=at(1))
    assert await edit(backend.store, job.id, **fields) == edited, "nothing changes"
    last = await edit(backend.store, job.id, label=None)
    assert (last.label, last.edit_tag) == (None, "e2")
    await backend.crash()
    store = await backend.open()
    assert await store.get(OWNER, job.id) == last
    for metadata, found in ((("order", "1"), []), (("a", "b"), [job.id])):
        page = await store.page(OWNER, JobFilter(metadata=frozenset({metadata})), 5, None)
        assert [each.id for each in page.jobs] == found


async def test_changes_of_state_and_ticks_leave_the_tag_as_it_is(store: JobStore) -> None:
    job = await running_job(store)
    await tick(store, job, 10.0)
    edited = await edit(store, job.id, label="named while it runs")
    assert (edited.edit_tag, edited.progress.percent) == ("e1", 10.0)
    await tick(store, job, 20.0)
    assert (await store.get(OWNER, job.id)).progress.percent == 20.0
    ended = await finish(store, job)
    assert (ended.edit_tag, ended.label) == ("e1", "named while it runs")
    assert ended.version > edited.version


async def test_of_edits_for_one_tag_exactly_one_is_made(store: JobStore) -> None:
    """Whatever the order in which they come in, and whatever comes between them."""
    job = await store.insert(new_job())
    chance = random.Random(5)

    async def attempt(name: str, tag: str) -> str | None:
        try:
            await edit(store, job.id, {tag, "e99"}, label=name)
        except EditedMeanwhileError:
            return None
        return name

    for generation in range(12):
        names = [f"{generation}-{number}" for number in range(chance.randrange(2, 9))]
        tags = [f"e{generation}" if chance.random() < 0.8 else "e100" for _ in names]
        tags[0] = f"e{generation}"
        outcomes = await asyncio.gather(*map(attempt, names, tags))
        (winner,) = [name for name in outcomes if name is not None]
        assert tags[names.index(winner)] == f"e{generation}"
        current = await store.get(OWNER, job.id)
        assert (current.label, current.edit_tag) == (winner, f"e{generation + 1}")


async def test_what_the_change_raises_is_raised_and_nothing_is_recorded(store: JobStore) -> None:
    job = await store.insert(new_job())

    def refuse(_: Job) -> Edit:
        raise JobStateError("not now")

    with pytest.raises(JobStateError, match="not now"):
        await store.edit(WantedEdit(OWNER, job.id, refuse, at(1)))
    assert await store.get(OWNER, job.id) == job


async def test_a_job_that_is_unknown_anothers_or_expired_cannot_be_edited(store: JobStore) -> None:
    foreign = await store.insert(new_job(owner=STRANGER, run_at=at(900)))
    expired = await ended_job(store, seconds=1, retain_s=5.0)
    for job_id in (UNKNOWN_ID, foreign.id, expired.id):
        with pytest.raises(JobNotFoundError):
            await edit(store, job_id, now=at(6), label="mine")
    assert (await store.get(STRANGER, foreign.id)) == foreign


async def test_an_ended_job_expires_as_long_after_its_end_as_it_is_to_be_kept(store: JobStore) -> None:
    job = await ended_job(store, seconds=100)
    assert job.expires_at == at(100 + DAY_S)
    assert (await edit(store, job.id, retain_s=50.0)).expires_at == at(150)
    assert await store.expire(at(149), 9) == 0
    assert await store.expire(at(150), 9) == 1


async def test_jobs_are_claimed_by_the_priorities_that_they_have_now(store: JobStore) -> None:
    jobs = await insert_many(store, 12)
    chance = random.Random(2)
    for _ in range(40):
        await edit(store, chance.choice(jobs).id, priority=chance.randrange(-2, 3))
    current = [await store.get(OWNER, job.id) for job in jobs]
    order = await claimed(store)
    assert sorted(order) == sorted(job.id for job in jobs)
    priorities = {job.id: job.priority for job in current}
    assert [priorities[job_id] for job_id in order] == sorted(priorities.values(), reverse=True)


async def test_a_job_can_be_put_off_and_brought_forward(store: JobStore) -> None:
    first, second, third = await insert_many(store, 3)
    later = await store.insert(new_job(run_at=at(1_000)))
    await edit(store, first.id, run_at=at(500))
    await edit(store, later.id, run_at=at(1))
    claims = await claim_up_to(store, {"report": 9}, 9, 2)
    assert [claim.job.id for claim in claims.claims] == [second.id, third.id, later.id]
    assert claims.next_run_at == at(500)
    assert await claimed(store, seconds=499) == []
    assert await claimed(store, seconds=500) == [first.id]


async def test_an_edited_job_gives_its_turn_back_and_nobody_loses_theirs(store: JobStore) -> None:
    mine = await insert_many(store, 4)
    theirs = await insert_many(store, 2, owner=STRANGER)
    await edit(store, mine[0].id, priority=-1)
    assert await claimed(store) == [theirs[0].id, mine[1].id, theirs[1].id, mine[2].id, mine[3].id, mine[0].id]


async def test_an_interrupted_job_stays_in_front_of_those_with_its_new_priority(store: JobStore) -> None:
    job = await running_job(store)
    others = await insert_many(store, 2, priority=3)
    await finish(store, job, Interrupted())
    await edit(store, job.id, priority=3)
    assert await claimed(store) == [job.id, *(other.id for other in others)]


async def test_a_job_that_waits_for_its_next_attempt_can_be_brought_forward(store: JobStore) -> None:
    job = await running_job(store, max_attempts=2)
    await store.finish(job, Retry(ERROR, at(600)), Progress(), [], at(1))
    await edit(store, job.id, run_at=at(1))
    assert await claimed(store, seconds=2) == [job.id]


async def test_parked_and_open_jobs_of_an_owner_with_a_quota_change_places(backend: Backend) -> None:
    await backend.close()
    store = await backend.open(quota=Quota(running=1))
    jobs = await insert_many(store, 5)
    await edit(store, jobs[4].id, priority=9)
    await edit(store, jobs[0].id, priority=-9)
    await edit(store, jobs[1].id, run_at=at(300))
    order: list[str] = []
    for seconds in (2, 3, 4, 5, 301, 302):
        for claim in (await claim_up_to(store, {"report": 9}, 9, seconds)).claims:
            order.append(claim.job.id)
            await finish(store, claim.job, seconds=seconds)
    assert order == [jobs[number].id for number in (4, 2, 3, 0, 1)]
    assert await backend.keeper.find_miscounts() == []


async def test_an_edit_rings_for_watchers_and_for_the_engine(backend: Backend) -> None:
    job = await backend.store.insert(new_job(run_at=at(900)))
    with (
        closing(backend.hub.listen(Bell.CHANGED, job.id)) as watcher,
        closing(backend.hub.listen(Bell.QUEUED)) as engine,
    ):
        await edit(backend.store, job.id, run_at=at(1))
        assert await watcher.wait(10) == {job.id}
        assert await engine.wait(10)
