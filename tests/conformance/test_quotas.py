"""Quotas: how much an owner, and a key, may keep and queue. The figures are exact, and right after each restart."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from headway.domain.access import ApiKey
from headway.domain.idempotency import FirstSubmission, IdempotencyKey
from headway.domain.jobs import Job, OutputFile, UploadedFile
from headway.domain.outcomes import Cancelled, Completed, Failed, Interrupted
from headway.domain.progress import Progress
from headway.errors import ClaimLostError, KeyNotFoundError, QuotaExceededError, StorageQuotaExceededError
from headway.ports.jobs import JobStore, LogBatch
from headway.quotas import NO_QUOTA, Quota, Used

from tests.conformance.backends import Backend
from tests.conformance.records import ERROR, OWNER, at, claim_one, finish, insert_many, line, new_job, running_job

KEY = ApiKey("key-of-ada", "ada", "ada", read_only=False, admin=False, created_at=at(0))
UPLOAD = UploadedFile("document", "a.txt", "text/plain", 100)
INPUT = '{"word":"é"}'
INPUT_BYTES = len(INPUT.encode())


async def with_quota(backend: Backend, quota: Quota) -> JobStore:
    await backend.close()
    return await backend.open(quota=quota)


async def test_of_a_burst_no_more_jobs_are_accepted_than_may_be_kept(backend: Backend) -> None:
    store = await with_quota(backend, Quota(jobs=3))
    answers = await asyncio.gather(*(store.insert(new_job(owner="ada")) for _ in range(20)), return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, QuotaExceededError)]
    jobs = [answer for answer in answers if isinstance(answer, Job)]
    assert len(jobs) == 3
    assert {(error.holder, error.quota, error.limit, error.used) for error in refused} == {("owner", "jobs", 3, 3)}
    assert all(error.retry_after_s for error in refused)
    await store.insert(new_job(owner="bob"))
    await store.delete("ada", jobs[0].id, at(1))
    store.check_room("ada", "report")
    await store.insert(new_job(owner="ada"))
    with pytest.raises(QuotaExceededError):
        store.check_room("ada", "report")


async def test_a_quota_of_queued_jobs_is_free_again_when_one_is_claimed(backend: Backend) -> None:
    store = await with_quota(backend, Quota(queued=1))
    await store.insert(new_job())
    with pytest.raises(QuotaExceededError) as refused:
        await store.insert(new_job())
    assert refused.value.quota == "queued"
    await claim_one(store, 1)
    await store.insert(new_job())


async def test_the_quota_of_a_key_counts_what_was_submitted_with_it(backend: Backend) -> None:
    store, keys = backend.store, await backend.keys()
    await keys.add(KEY, "sum", Quota(jobs=1))
    await store.insert(new_job(owner="ada"))
    await store.insert(new_job(owner="ada", key_id=KEY.id))
    with pytest.raises(QuotaExceededError) as refused:
        await store.insert(new_job(owner="ada", key_id=KEY.id))
    assert refused.value.holder == "key"
    with pytest.raises(QuotaExceededError):
        store.check_room("ada", "report", None, KEY.id)
    await store.insert(new_job(owner="ada"))
    await keys.set_owner_quota("ada", Quota(jobs=3))
    with pytest.raises(QuotaExceededError) as refused:
        await store.insert(new_job(owner="ada"))
    assert refused.value.holder == "owner"


async def test_quotas_are_changed_for_good(backend: Backend) -> None:
    keys = await backend.keys()
    await keys.add(KEY, "sum", Quota(jobs=1))
    await keys.set_quota(KEY.name, Quota(bytes=5))
    await keys.set_owner_quota("ada", NO_QUOTA)
    await keys.set_owner_quota("bob", Quota(jobs=7))
    await keys.set_owner_quota("bob", None)
    with pytest.raises(KeyNotFoundError):
        await keys.set_quota("nobody", Quota(jobs=1))
    store = await with_quota(backend, Quota(jobs=2))
    assert store.account_of_key(KEY.id).quota == Quota(bytes=5)
    assert store.account("ada").quota == NO_QUOTA
    assert store.account("bob").quota == store.account("carla").quota == Quota(jobs=2)
    keys = await backend.keys()
    await keys.set_quota(KEY.name, None)
    await backend.crash()
    store = await backend.open(quota=Quota(jobs=2))
    assert store.account_of_key(KEY.id).quota == NO_QUOTA


async def test_bytes_are_refused_as_soon_as_they_would_not_fit(backend: Backend) -> None:
    store = await with_quota(backend, Quota(bytes=INPUT_BYTES + 150))
    job = await store.insert(new_job(input_json=INPUT, uploads=(UPLOAD,)))
    with pytest.raises(StorageQuotaExceededError) as refused:
        await store.insert(new_job(input_json=INPUT, uploads=(UPLOAD,)))
    assert (refused.value.quota, refused.value.used, refused.value.retry_after_s) == ("bytes", INPUT_BYTES + 100, None)
    store.check_room(OWNER, "report", None, None, 50)
    with pytest.raises(StorageQuotaExceededError):
        store.check_room(OWNER, "report", None, None, 51)
    await store.delete(OWNER, job.id, at(1))
    await store.insert(new_job(input_json=INPUT, uploads=(UPLOAD,)))


async def test_uploads_under_way_count_against_what_is_left(backend: Backend) -> None:
    store = await with_quota(backend, Quota(bytes=100))
    first, second = store.hold("ada", None), store.hold("ada", None)
    first.grow(60)
    with pytest.raises(StorageQuotaExceededError):
        second.grow(41)
    second.grow(40)
    store.hold("bob", None).grow(100)
    with pytest.raises(StorageQuotaExceededError):
        await store.insert(new_job(owner="ada"))
    first.release()
    first.release()
    await store.insert(new_job(owner="ada"))


async def test_outputs_that_end_together_fit_together(backend: Backend) -> None:
    store = await with_quota(backend, Quota(bytes=100))
    one, other = [await running_job(store, second) for second in range(2)]
    store.hold_output(one, 60)
    with pytest.raises(StorageQuotaExceededError):
        store.hold_output(other, 60)
    await finish(store, one, Completed("1", (OutputFile("a", 10, "text/plain"),)))
    store.hold_output(other, 60)
    await finish(store, other, Failed(ERROR))
    assert store.account(OWNER).used.bytes == 2 * len("{}") + 11


@pytest.mark.parametrize("result_bytes", [10, 300_000])
async def test_a_stale_attempt_holds_no_room_for_its_output(backend: Backend, result_bytes: int) -> None:
    store = await with_quota(backend, Quota(bytes=1_000_000))
    job = await running_job(store)
    await finish(store, job, Failed(ERROR))
    for _ in range(2):
        store.hold_output(job, 900_000)
        with pytest.raises(ClaimLostError):
            await finish(store, job, Completed(f'"{"x" * result_bytes}"'), 2)


async def test_a_repeat_is_answered_even_if_nothing_more_may_be_kept(backend: Backend) -> None:
    store = await with_quota(backend, Quota(jobs=1))
    key = IdempotencyKey(OWNER, "once", "print", at(0) + timedelta(days=1))
    answers = await asyncio.gather(*(store.insert(new_job(), None, key) for _ in range(5)))
    assert sum(isinstance(answer, Job) for answer in answers) == 1
    assert isinstance(await store.insert(new_job(), None, key), FirstSubmission)
    with pytest.raises(QuotaExceededError):
        await store.insert(new_job(), None, replace(key, key="another"))
    with pytest.raises(QuotaExceededError):
        await store.insert(new_job())


async def test_what_a_job_keeps_is_counted_through_its_life(backend: Backend) -> None:
    store = backend.store

    def used() -> Used:
        assert store.account_of_key(KEY.id).used == store.account("ada").used
        return store.account("ada").used

    async def submitted(**chosen: Any) -> Job:
        return await store.insert(new_job(owner="ada", key_id=KEY.id, input_json=INPUT, **chosen))

    await submitted(uploads=(UPLOAD,))
    assert used() == Used(1, INPUT_BYTES + 100, 1, 0)
    job = (await claim_one(store)).job
    await store.checkpoint(job.id, job.attempt, '"12345"')
    await store.checkpoint(job.id, job.attempt, '"123"')
    await store.append_logs([LogBatch(job.id, job.attempt, [line("four", 1), line("é", 1)])])
    assert used() == Used(1, INPUT_BYTES + 100 + 5 + 6, 0, 1)
    await finish(store, job, Interrupted(), lines=[line("x", 1)])
    assert used() == Used(1, INPUT_BYTES + 100 + 5 + 7, 1, 0)
    job = (await claim_one(store, 2)).job
    await store.checkpoint(job.id, job.attempt, '"1"')
    many = tuple(OutputFile(f"{number:04}", 1, "text/plain") for number in range(300))
    job = await finish(store, job, Completed('"é"', many), 3)
    assert used() == Used(1, INPUT_BYTES + 100 + 7 + 4 + 300, 0, 0)
    await store.delete_result("ada", job.id, at(4))
    await store.delete_result("ada", job.id, at(4))
    assert used() == Used(1, INPUT_BYTES + 100 + 7, 0, 0)
    await store.delete("ada", job.id, at(5))
    assert used() == Used(0, 0, 0, 0)


async def test_the_counts_are_right_after_each_crash(backend: Backend) -> None:
    """Whatever a job goes through: a recount finds the same, and so does the next server."""
    store = backend.store
    waiting = await insert_many(store, 3, owner="ada", key_id=KEY.id, input_json=INPUT)
    await store.cancel("ada", waiting[0].id, at(1))
    job = (await claim_one(store, 1)).job
    await store.checkpoint(job.id, job.attempt, '"123"')
    await store.append_logs([LogBatch(job.id, job.attempt, [line("four", 1)])])
    stopped = (await claim_one(store, 1)).job
    await store.cancel("ada", stopped.id, at(2))
    await store.checkpoint(stopped.id, stopped.attempt, '"123"')
    await store.finish(stopped, Cancelled(), Progress(), [line("stopped", 2)], at(2))
    done = await running_job(store, 3, owner="bob")
    await finish(store, done, Completed("1", (OutputFile("a", 10, "text/plain"),)), 4)
    await running_job(store, 5, owner="bob")
    before = {owner: store.account(owner).used for owner in ("ada", "bob")}
    assert before["ada"] == Used(3, 3 * INPUT_BYTES + 5 + 4 + 7, 0, 1)
    assert before["bob"] == Used(2, 2 * 2 + 11, 0, 1)
    assert await backend.keeper.find_miscounts() == []
    await backend.crash()
    store = await backend.open()
    assert {owner: store.account(owner).used for owner in before} == before
    assert store.account_of_key(KEY.id).used == before["ada"]
    await store.recover(at(6), 3)
    assert await backend.keeper.find_miscounts() == []
    assert set(await backend.keeper.accounts()) == {"ada", "bob"}
    assert await store.expire(at(10 * 24 * 60 * 60), 10) == 3
    assert store.account("ada").used.jobs == 1
    assert await backend.keeper.find_miscounts() == []


async def test_the_share_of_the_queue_is_a_limit_too(backend: Backend) -> None:
    await backend.close()
    store = await backend.open(max_queued_per_owner=5, quota=Quota(queued=9))
    assert store.account("ada").quota.queued == 5
    assert store.account(OWNER).quota.queued == 9


async def test_a_resumable_upload_counts_until_a_job_takes_it_whether_or_not_there_is_a_quota(backend: Backend) -> None:
    store, keys = backend.store, await backend.keys()
    await keys.add(KEY, "sum", Quota(bytes=100))
    free = store.reserve("bob", None, 500)
    assert store.account("bob").used.bytes == 500
    first = store.reserve("ada", KEY.id, 60)
    assert store.account("ada").used.bytes == store.account_of_key(KEY.id).used.bytes == 60
    with pytest.raises(StorageQuotaExceededError):
        store.reserve("ada", KEY.id, 41)
    with pytest.raises(StorageQuotaExceededError):
        store.hold("ada", KEY.id).grow(41)
    with pytest.raises(StorageQuotaExceededError):
        store.check_room("ada", "report", None, KEY.id, 41)
    second = store.reserve("ada", KEY.id, 41, checked=False)
    for reservation in (first, first, second, free):
        reservation.release()
    assert store.account("ada").used == store.account("bob").used == Used()
    assert store.account_of_key(KEY.id).used == Used()
    store.reserve("ada", KEY.id, 100)
