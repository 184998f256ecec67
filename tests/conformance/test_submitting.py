"""`Submissions` and `Reader`: accepting jobs, reading them back, and their owners."""

import asyncio

import pytest
from headway.domain.access import LOCAL_OWNER
from headway.domain.filters import JobFilter
from headway.domain.jobs import Status, UploadedFile
from headway.domain.progress import Progress
from headway.errors import JobNotFoundError, OwnerQueueFullError, QueueFullError
from headway.ports.events import Bell, EventHub
from headway.ports.jobs import JobStore

from tests.conformance.backends import Backend
from tests.conformance.records import (
    DONE,
    OWNER,
    STRANGER,
    UNKNOWN_ID,
    at,
    claim_one,
    claim_up_to,
    ended_job,
    insert_many,
    new_job,
    running_job,
)


async def test_an_accepted_job_is_queued_with_its_options(store: JobStore) -> None:
    upload = UploadedFile(field="document", filename="ünïcode.pdf", content_type="application/pdf", size_bytes=2**40)
    new = new_job(
        label="for Ada",
        priority=-7,
        run_at=at(3600),
        timeout_s=1.5,
        retain_s=60.0,
        max_attempts=4,
        uploads=(upload,),
        retry_of=UNKNOWN_ID,
        input_json='{"text":"Größe \U0001f600"}',
        metadata=(("order", "4711"), ("für", '"\U0001f600"')),
    )
    job = await store.insert(new)
    assert (job.id, job.owner, job.type, job.label) == (new.id, OWNER, "report", "for Ada")
    assert (job.status, job.attempt, job.version, job.last_seq, job.state_seq) == (Status.QUEUED, 0, 1, 1, 1)
    assert (job.priority, job.run_at, job.timeout_s, job.retain_s, job.max_attempts) == (-7, at(3600), 1.5, 60.0, 4)
    assert (job.uploads, job.retry_of, job.metadata) == ((upload,), UNKNOWN_ID, new.metadata)
    assert (job.created_at, job.updated_at) == (new.created_at, new.created_at)
    assert (job.started_at, job.completed_at, job.expires_at) == (None, None, None)
    assert (job.progress, job.error, job.files, job.result_bytes) == (Progress(), None, (), None)
    assert not job.terminal
    assert not job.cancel_requested
    assert await store.get(OWNER, job.id) == job
    documents = await store.documents(OWNER, job.id)
    assert (documents.input_json, documents.result_json) == (new.input_json, None)


async def test_a_job_is_the_same_after_the_store_is_reopened(backend: Backend) -> None:
    jobs = await insert_many(
        backend.store, 3, label="kept", metadata=(("a", "b"),), priority=3, run_at=at(9), retain_s=7.25, timeout_s=2.5
    )
    await backend.close()
    store = await backend.open()
    assert [await store.get(OWNER, job.id) for job in jobs] == jobs


async def test_an_unknown_job_is_not_found(store: JobStore) -> None:
    for job_id in (UNKNOWN_ID, "", "x" * 10_000, "\0"):
        with pytest.raises(JobNotFoundError):
            await store.get(OWNER, job_id)
        with pytest.raises(JobNotFoundError):
            await store.documents(OWNER, job_id)
        with pytest.raises(JobNotFoundError):
            await store.cancel(OWNER, job_id, at(0))
        assert store.departed(OWNER, job_id) is None
        assert await store.logs(job_id, 0, 100, 10) == []


@pytest.mark.parametrize("state", ["queued", "running", "ended"])
async def test_another_owners_job_is_like_an_unknown_one(store: JobStore, state: str) -> None:
    match state:
        case "queued":
            job = await store.insert(new_job())
        case "running":
            job = await running_job(store)
        case _:
            job = await ended_job(store)
    before = await store.get(OWNER, job.id)
    with pytest.raises(JobNotFoundError) as foreign:
        await store.get(STRANGER, job.id)
    with pytest.raises(JobNotFoundError) as unknown:
        await store.get(STRANGER, UNKNOWN_ID)
    assert str(foreign.value).replace(job.id, UNKNOWN_ID) == str(unknown.value)
    with pytest.raises(JobNotFoundError):
        await store.documents(STRANGER, job.id)
    for end in (store.cancel, store.delete):
        with pytest.raises(JobNotFoundError):
            await end(STRANGER, job.id, at(1))
    everything = JobFilter(ids=frozenset({job.id}))
    assert (await store.page(STRANGER, JobFilter(), 10, None)).jobs == []
    assert (await store.page(STRANGER, everything, 10, None)).jobs == []
    assert await store.active(STRANGER, everything, 10, at(-100)) == []
    assert not (await store.counts(STRANGER)).by_type
    assert await store.get(OWNER, job.id) == before
    assert await store.existing([job.id]) == {job.id}


async def test_another_owners_deleted_job_is_not_shown(store: JobStore) -> None:
    job = await ended_job(store)
    await store.delete(OWNER, job.id, at(2))
    assert store.departed(STRANGER, job.id) is None
    assert store.departed(OWNER, job.id) == job


async def test_a_burst_cannot_exceed_the_queue_limit(backend: Backend) -> None:
    await backend.close()
    store = await backend.open(max_queued=10)
    answers = await asyncio.gather(*(store.insert(new_job()) for _ in range(50)), return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, QueueFullError)]
    assert len(answers) - len(refused) == 10
    assert all(error.retry_after_s >= 1 for error in refused)
    assert (await store.counts(OWNER)).by_type == {"report": {Status.QUEUED: 10}}


async def test_a_type_may_have_a_limit_of_its_own(store: JobStore) -> None:
    answers = await asyncio.gather(
        *(store.insert(new_job(type=name), max_queued_of_type=3) for name in ("a", "b") * 10), return_exceptions=True
    )
    assert sum(isinstance(answer, QueueFullError) for answer in answers) == 14
    assert (await store.counts(OWNER)).by_type == {"a": {Status.QUEUED: 3}, "b": {Status.QUEUED: 3}}
    with pytest.raises(QueueFullError):
        await store.insert(new_job(type="a"), max_queued_of_type=3)
    await store.insert(new_job(type="a"))
    await claim_up_to(store, {"a": 2}, 2, seconds=1)
    await store.insert(new_job(type="a"), max_queued_of_type=3)


async def test_an_owner_has_a_share_of_the_queue(backend: Backend) -> None:
    """It counts all types and bursts. Other owners, and jobs submitted without an API key, are not affected."""
    await backend.close()
    store = await backend.open(max_queued_per_owner=3)
    news = [new_job(owner="ada", type=name) for name in ("a", "b") * 10]
    answers = await asyncio.gather(*(store.insert(new) for new in news), return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, OwnerQueueFullError)]
    assert len(answers) - len(refused) == 3
    assert all(error.retry_after_s >= 1 for error in refused)
    with pytest.raises(OwnerQueueFullError):
        store.check_room("ada", "a")
    store.check_room(STRANGER, "a")
    await store.insert(new_job(owner=STRANGER))
    for _ in range(5):
        await store.insert(new_job(owner=LOCAL_OWNER))
    await claim_up_to(store, {"a": 1}, 1, seconds=1)
    await store.insert(new_job(owner="ada"))
    with pytest.raises(OwnerQueueFullError):
        await store.insert(new_job(owner="ada"))


async def test_a_share_is_known_after_a_restart_too(backend: Backend) -> None:
    await backend.close()
    store = await backend.open(max_queued_per_owner=1)
    job = await store.insert(new_job(owner="ada"))
    await backend.close()
    store = await backend.open(max_queued_per_owner=1)
    with pytest.raises(OwnerQueueFullError):
        await store.insert(new_job(owner="ada"))
    await store.delete("ada", job.id, at(1))
    await store.insert(new_job(owner="ada"))


async def test_a_refused_submission_says_when_to_retry(backend: Backend) -> None:
    """After the usual run time of its type: neither at once nor tomorrow."""
    await backend.close()
    store = await backend.open(max_queued=0)
    with pytest.raises(QueueFullError) as unknown:
        await store.insert(new_job())
    await backend.close()
    store = await backend.open(max_queued=1)
    told = [unknown.value.retry_after_s]
    for run_s in (0.2, 25, 90_000):
        job_type = f"type-{run_s}".replace(".", "-")
        await ended_job(store, DONE, run_s, type=job_type)
        waiting = await store.insert(new_job(type=job_type))
        with pytest.raises(QueueFullError) as refused:
            await store.insert(new_job(type=job_type))
        told.append(refused.value.retry_after_s)
        await store.delete(OWNER, waiting.id, at(1))
    assert all(1 <= seconds <= 60 for seconds in told)
    assert (told[1], told[2]) == (1, 25)


async def test_a_queued_job_is_counted_once_against_the_limit(backend: Backend) -> None:
    """Not twice between its commit and its return, nor if its caller was cancelled meanwhile."""
    await backend.close()
    store = await backend.open(max_queued=3)
    hub_says: list[str] = []
    listener = backend.hub.listen(Bell.QUEUED)
    first = asyncio.create_task(store.insert(new_job()))
    hub_says += await listener.wait(5)
    second = store.insert(new_job())  # in the turn of the loop in which the first was committed
    third = store.insert(new_job())
    await asyncio.gather(first, second, third)
    with pytest.raises(QueueFullError):
        await store.insert(new_job())


async def test_queue_places_become_free_again(backend: Backend) -> None:
    await backend.close()
    store = await backend.open(max_queued=2)
    first, _ = await insert_many(store, 2)
    with pytest.raises(QueueFullError):
        await store.insert(new_job())
    await claim_one(store)
    third = await store.insert(new_job())
    with pytest.raises(QueueFullError):
        await store.insert(new_job())
    await store.cancel(OWNER, third.id, at(1))
    await store.insert(new_job())
    with pytest.raises(QueueFullError):
        await store.insert(new_job())
    assert first.id


async def test_a_refused_insert_takes_no_place(backend: Backend) -> None:
    await backend.close()
    store = await backend.open(max_queued=2)
    new = new_job()
    await store.insert(new)
    for _ in range(5):
        with pytest.raises(Exception, match="UNIQUE"):
            await store.insert(new)
    await store.insert(new_job())


async def test_an_invalid_insert_does_not_affect_others_in_its_batch(store: JobStore) -> None:
    taken = new_job()
    await store.insert(taken)
    good = [new_job() for _ in range(20)]
    mixed = [*good[:7], taken, *good[7:13], new_job()._replace(label="\ud800"), *good[13:], taken]
    answers = await asyncio.gather(*(store.insert(new) for new in mixed), return_exceptions=True)
    failed = [index for index, answer in enumerate(answers) if isinstance(answer, BaseException)]
    assert failed == [7, 14, 22]
    assert {job.id for job in (await store.page(OWNER, JobFilter(), 100, None)).jobs} == {
        taken.id,
        *(new.id for new in good),
    }
    assert (await store.counts(OWNER)).by_type == {"report": {Status.QUEUED: 21}}


async def test_a_cancelled_caller_does_not_undo_an_insert(backend: Backend) -> None:
    store = backend.store
    news = [new_job() for _ in range(30)]
    tasks = [asyncio.create_task(store.insert(new)) for new in news]
    await asyncio.sleep(0)  # handed over, not committed
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await store.check_writable()  # every earlier write has settled when this returns
    assert (await store.counts(OWNER)).by_type == {"report": {Status.QUEUED: 30}}
    assert len((await store.page(OWNER, JobFilter(), 100, None)).jobs) == 30
    await backend.close()
    reopened = await backend.open()
    assert [(await reopened.get(OWNER, new.id)).status for new in news] == [Status.QUEUED] * 30


async def test_a_cancelled_reader_does_not_affect_others(backend: Backend) -> None:
    jobs = await insert_many(backend.store, 20)
    await backend.close()
    store = await backend.open()
    tasks = [asyncio.create_task(store.get(OWNER, job.id)) for job in jobs for _ in range(3)]
    await asyncio.sleep(0)
    for task in tasks[::3]:
        task.cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert sum(isinstance(answer, asyncio.CancelledError) for answer in answers) == 20
    assert [await store.get(OWNER, job.id) for job in jobs] == jobs


async def test_concurrent_reads_of_an_unknown_job(store: JobStore) -> None:
    answers = await asyncio.gather(*(store.get(OWNER, UNKNOWN_ID) for _ in range(100)), return_exceptions=True)
    assert all(isinstance(answer, JobNotFoundError) for answer in answers)


async def test_an_insert_rings_the_queued_and_changed_bells(store: JobStore, hub: EventHub) -> None:
    queued, changed = hub.listen(Bell.QUEUED), hub.listen(Bell.CHANGED)
    new = new_job()
    await store.insert(new)
    assert await queued.wait(5) == {new.id}
    assert await changed.wait(5) == {new.id}


async def test_existing_returns_the_ids_that_are_jobs(store: JobStore) -> None:
    jobs = await insert_many(store, 3)
    assert await store.existing([UNKNOWN_ID, jobs[0].id, jobs[2].id]) == {jobs[0].id, jobs[2].id}
    assert await store.existing([]) == frozenset()


async def test_a_store_on_a_working_disk_is_writable(store: JobStore) -> None:
    await store.check_writable()
    await store.check_writable()
