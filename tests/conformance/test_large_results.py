"""Results of any size: what the record gives back is what the attempt handed over, or nothing."""

import asyncio

import pytest
from headway.domain.jobs import Job
from headway.domain.outcomes import Completed
from headway.errors import ClaimLostError
from headway.ports.jobs import JobStore
from headway.quotas import Quota

from tests.conformance.backends import Backend
from tests.conformance.records import BROKEN, DAY_S, OWNER, at, ended_job, finish, new_job, running_job

KIB = 1024
SIZES = (10, 256 * KIB - 1, 256 * KIB, 256 * KIB + 1, 512 * KIB, 1_000_003)


def result_of(size_bytes: int, text: str = "x") -> Completed:
    """A JSON string of so many bytes, or up to three fewer."""
    return Completed(f'"{text * ((size_bytes - 2) // len(text.encode()))}"')


LARGE = result_of(1_000_003, "ü")
LARGER = result_of(1_500_000)


async def result_json(store: JobStore, job: Job) -> str | None:
    return (await store.documents(OWNER, job.id)).result_json


@pytest.mark.parametrize("text", ["x", "ü", "日", "\U0001f600"])
async def test_a_result_is_read_as_it_was_returned_whatever_its_size(store: JobStore, text: str) -> None:
    for size_bytes in SIZES:
        outcome = result_of(size_bytes, text)
        job = await ended_job(store, outcome)
        assert job.result_bytes == len(outcome.result_json.encode())
        assert await result_json(store, job) == outcome.result_json
        assert (await store.documents(OWNER, job.id, with_result=False)).result_json is None


async def test_a_restarted_server_reads_the_same_result(backend: Backend) -> None:
    job = await ended_job(backend.store, LARGE)
    await backend.crash()
    assert await result_json(await backend.open(), job) == LARGE.result_json


async def test_results_that_are_recorded_at_the_same_time_are_not_mixed_up(store: JobStore) -> None:
    jobs = [await running_job(store) for _ in range(4)]
    outcomes = [result_of(700_000 + 100_000 * place, text) for place, text in enumerate("abcü")]
    await asyncio.gather(*(finish(store, job, outcome) for job, outcome in zip(jobs, outcomes, strict=True)))
    for job, outcome in zip(jobs, outcomes, strict=True):
        assert await result_json(store, job) == outcome.result_json


async def test_a_stale_attempt_replaces_no_part_of_a_large_result(store: JobStore) -> None:
    job = await running_job(store)
    await finish(store, job, LARGE)
    for late in (LARGER, Completed("1"), LARGE):
        with pytest.raises(ClaimLostError):
            await finish(store, job, late, 2)
    await ended_job(store)  # whatever a stale attempt leaves to be done has been done
    assert await result_json(store, job) == LARGE.result_json


async def test_a_cancelled_job_has_nothing_of_a_large_result(store: JobStore) -> None:
    job = await running_job(store)
    await store.cancel(OWNER, job.id, at(1))
    ended = await finish(store, job, LARGE, 2)
    assert (ended.status, ended.result_bytes, await result_json(store, ended)) == ("cancelled", None, None)


@pytest.mark.parametrize("outcome", [LARGE, BROKEN])
async def test_a_job_that_is_deleted_while_it_runs_leaves_nothing(backend: Backend, outcome: Completed) -> None:
    job = await running_job(backend.store)
    await backend.store.delete(OWNER, job.id, at(1))
    await finish(backend.store, job, outcome, 2)
    assert await backend.store.existing([job.id]) == frozenset()
    assert await backend.keeper.find_miscounts() == []


@pytest.mark.parametrize("way", ["delete", "delete_result", "expire", "purge"])
async def test_a_large_result_goes_with_its_job_or_alone(backend: Backend, way: str) -> None:
    store = backend.store
    job, other = await ended_job(store, LARGE, retain_s=60.0), await ended_job(store, LARGER, retain_s=9 * DAY_S)
    match way:
        case "expire":
            assert await store.expire(at(DAY_S), 10) == 1
        case "purge":
            assert job.completed_at is not None
            deleted = await backend.keeper.delete_ended(at(2), [job.status], 1)
            assert list(deleted) == [job.id]
        case _:
            await getattr(store, way)(OWNER, job.id, at(2))
    if way == "delete_result":
        assert (await store.get(OWNER, job.id)).result_bytes is None
        assert await result_json(store, job) is None
    else:
        assert await store.existing([job.id]) == frozenset()
    assert await result_json(store, other) == LARGER.result_json
    assert await backend.keeper.find_miscounts() == []


async def test_a_large_result_counts_in_its_owners_quota_until_it_is_deleted(backend: Backend) -> None:
    await backend.close()
    store = await backend.open(quota=Quota(bytes=3_000_000))
    job = await ended_job(store, LARGE)
    assert store.account(OWNER).used.bytes == len("{}") + len(LARGE.result_json.encode())
    await store.delete_result(OWNER, job.id, at(2))
    assert store.account(OWNER).used.bytes == len("{}")
    await store.insert(new_job())
