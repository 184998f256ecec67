"""`Submissions.insert` with an idempotency key: a submission that is repeated creates one job."""

import asyncio
from typing import Any

import pytest
from headway.domain.idempotency import FirstSubmission, IdempotencyKey
from headway.domain.jobs import Job, NewJob, Status
from headway.errors import QueueFullError
from headway.ports.events import Bell, EventHub
from headway.ports.jobs import JobStore

from tests.conformance.backends import Backend
from tests.conformance.records import OWNER, STRANGER, at, claim_up_to, insert_many, new_job

KEPT_S = 24 * 60 * 60


def key(text: str = "k", seconds: float = 0, fingerprint: str = "f", owner: str = OWNER) -> IdempotencyKey:
    """A key that is used `seconds` after the start."""
    return IdempotencyKey(owner, text, fingerprint, at(seconds + KEPT_S))


async def submit(store: JobStore, seconds: float = 0, text: str = "k", **chosen: Any) -> Job | FirstSubmission:
    new = new_job(seconds, **chosen)
    return await store.insert(new, key=key(text, seconds, owner=new.owner))


async def accepted(store: JobStore, seconds: float = 0, text: str = "k", **chosen: Any) -> Job:
    job = await submit(store, seconds, text, **chosen)
    assert isinstance(job, Job)
    return job


async def queued(store: JobStore) -> int:
    by_type = (await store.counts(OWNER)).by_type
    return sum(of_type.get(Status.QUEUED, 0) for of_type in by_type.values())


async def test_the_first_submission_with_a_key_is_a_job_like_any_other(store: JobStore, hub: EventHub) -> None:
    bells = hub.listen(Bell.QUEUED)
    job = await accepted(store, label="once")
    assert (job.status, job.label) == (Status.QUEUED, "once")
    assert await store.get(OWNER, job.id) == job
    assert await bells.wait(5) == {job.id}
    (claim,) = (await claim_up_to(store, {"report": 2}, 2, seconds=1)).claims
    assert claim.job.id == job.id


async def test_a_repeat_returns_the_first_submission(store: JobStore, hub: EventHub) -> None:
    job = await accepted(store)
    bells = hub.listen(Bell.QUEUED)
    first = FirstSubmission(job.id, "f")
    assert await submit(store, 1) == first
    assert await store.insert(new_job(2), key=key(fingerprint="another request")) == first
    assert await store.first_with_key(OWNER, "k", at(3)) == first
    assert await queued(store) == 1
    assert await bells.wait(0.01) == frozenset()


async def test_of_twenty_simultaneous_submissions_with_one_key_one_is_accepted(backend: Backend) -> None:
    answers = await asyncio.gather(*(submit(backend.store) for _ in range(20)))
    (job,) = [answer for answer in answers if isinstance(answer, Job)]
    assert answers.count(FirstSubmission(job.id, "f")) == 19
    assert await queued(backend.store) == 1
    await backend.crash()
    store = await backend.open()
    assert await submit(store, 1) == FirstSubmission(job.id, "f")
    assert await queued(store) == 1


async def test_keys_are_separate_by_owner_and_text(store: JobStore) -> None:
    job = await accepted(store)
    assert await store.first_with_key(STRANGER, "k", at(0)) is None
    strangers, other = await accepted(store, owner=STRANGER), await accepted(store, text="K")
    assert len({job.id, strangers.id, other.id}) == 3
    assert await submit(store, owner=STRANGER) == FirstSubmission(strangers.id, "f")


async def test_a_repeat_does_not_recreate_a_job_that_is_gone(store: JobStore) -> None:
    """Deleted or expired: a key stands for one job as long as it is remembered, not for one at a time."""
    purged = await accepted(store)
    await store.delete(OWNER, purged.id, at(1))
    expired = await accepted(store, text="short", retain_s=0.0)
    await store.cancel(OWNER, expired.id, at(1))
    await store.expire(at(2), 10)
    assert await store.existing([purged.id, expired.id]) == frozenset()
    assert await submit(store, 3) == FirstSubmission(purged.id, "f")
    assert await submit(store, 3, "short") == FirstSubmission(expired.id, "f")
    assert await queued(store) == 0


@pytest.mark.parametrize("swept", [True, False])
async def test_an_expired_key_can_be_used_again(store: JobStore, swept: bool) -> None:
    old = await accepted(store)
    assert await submit(store, KEPT_S - 0.001) == FirstSubmission(old.id, "f")
    if swept:
        assert await store.forget_keys(at(KEPT_S), 10) == 1
    assert await store.first_with_key(OWNER, "k", at(KEPT_S)) is None
    new = await accepted(store, KEPT_S)
    assert new.id != old.id
    assert await submit(store, KEPT_S + 1) == FirstSubmission(new.id, "f")
    assert await store.forget_keys(at(KEPT_S + 1), 10) == 0


async def test_expired_keys_are_deleted_in_batches(store: JobStore) -> None:
    for number in range(5):
        await accepted(store, number, str(number))
    assert await store.forget_keys(at(0), 3) == 0
    assert [await store.forget_keys(at(KEPT_S + 3), 3) for _ in range(3)] == [3, 1, 0]
    assert await store.first_with_key(OWNER, "4", at(KEPT_S + 3)) is not None


async def test_a_repeat_takes_no_place_in_the_queue(backend: Backend) -> None:
    await backend.close()
    store = await backend.open(max_queued=2)
    job = await accepted(store)
    await insert_many(store, 1)
    assert await submit(store, 1) == FirstSubmission(job.id, "f")
    assert await store.insert(new_job(1), 1, key()) == FirstSubmission(job.id, "f")
    with pytest.raises(QueueFullError):
        await submit(store, 1, "other")
    assert await store.first_with_key(OWNER, "other", at(1)) is None
    await store.cancel(OWNER, job.id, at(2))
    for _ in range(5):
        assert await submit(store, 3) == FirstSubmission(job.id, "f")
    await accepted(store, 3, "other")
    with pytest.raises(QueueFullError):
        await store.insert(new_job(4))


async def test_simultaneous_submissions_with_one_key_take_one_place(backend: Backend) -> None:
    await backend.close()
    store = await backend.open(max_queued=1)
    answers = await asyncio.gather(*(submit(store) for _ in range(10)))
    assert sum(isinstance(answer, Job) for answer in answers) == 1
    await backend.close()
    store = await backend.open(max_queued=3)
    answers = await asyncio.gather(*(submit(store, text="other") for _ in range(10)), store.insert(new_job()))
    assert sum(isinstance(answer, Job) for answer in answers) == 2
    with pytest.raises(QueueFullError):
        await store.insert(new_job())


async def test_an_invalid_first_submission_leaves_the_key_unused(store: JobStore) -> None:
    taken = await store.insert(new_job())
    bad: NewJob = new_job()._replace(id=taken.id)
    answers = await asyncio.gather(
        store.insert(bad, key=key()), store.insert(new_job(), key=key()), return_exceptions=True
    )
    assert isinstance(answers[0], Exception)
    assert isinstance(answers[1], Job)


async def test_a_key_belongs_to_the_submitter_not_to_the_jobs_owner(store: JobStore) -> None:
    new = new_job(owner=OWNER)
    job = await store.insert(new, key=key(owner=STRANGER))
    assert isinstance(job, Job)
    assert job.owner == OWNER
    assert await store.first_with_key(OWNER, "k", at(0)) is None
    assert await store.first_with_key(STRANGER, "k", at(0)) == FirstSubmission(job.id, "f")


async def test_a_cancelled_caller_keeps_its_key(store: JobStore) -> None:
    task = asyncio.create_task(submit(store))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await store.check_writable()
    assert isinstance(await submit(store, 1), FirstSubmission)
    assert await queued(store) == 1


async def test_keys_and_jobs_without_keys_are_committed_together(store: JobStore) -> None:
    answers = await asyncio.gather(*(submit(store) if number % 3 else store.insert(new_job()) for number in range(30)))
    assert sum(isinstance(answer, Job) for answer in answers) == 11
    assert await queued(store) == 11
