"""The attempts of a job: each is recorded, with its outcome, its error and what it used, and goes with the job."""

import pytest
from headway.domain.attempts import AttemptOutcome, PastAttempt, Usage
from headway.domain.jobs import Job
from headway.domain.outcomes import Cancelled, Completed, Failed, Interrupted, Outcome, Retry
from headway.ports.jobs import JobStore

from tests.conformance.backends import Backend
from tests.conformance.records import BROKEN, DONE, ERROR, OWNER, at, claim_one, finish, new_job, running_job

USED = Usage(50_000_000, 1.25)
ENDS: dict[str, tuple[Outcome, AttemptOutcome]] = {
    "completed": (DONE, AttemptOutcome.COMPLETED),
    "failed": (BROKEN, AttemptOutcome.FAILED),
    "crashed too often": (Failed(ERROR, crashed=True), AttemptOutcome.FAILED),
    "cancelled": (Cancelled(), AttemptOutcome.CANCELLED),
    "interrupted": (Interrupted(), AttemptOutcome.INTERRUPTED),
    "crashed": (Interrupted(crashed=True), AttemptOutcome.INTERRUPTED),
    "retry": (Retry(ERROR, at(50)), AttemptOutcome.RETRY),
}


async def attempts(store: JobStore, job: Job, after: int = 0, limit: int = 10) -> list[PastAttempt]:
    return list(await store.attempts(await store.get(OWNER, job.id), after, limit))


async def test_a_job_that_was_never_started_has_no_attempt(store: JobStore) -> None:
    waiting, cancelled = await store.insert(new_job()), await store.insert(new_job())
    await store.cancel(OWNER, cancelled.id, at(1))
    assert await attempts(store, waiting) == []
    assert await attempts(store, cancelled) == []


async def test_an_attempt_that_runs_is_listed(store: JobStore) -> None:
    job = await running_job(store, 3)
    assert await attempts(store, job) == [PastAttempt(1, at(3))]


@pytest.mark.parametrize("usage", [USED, None], ids=["measured", "not measured"])
@pytest.mark.parametrize(("outcome", "word"), ENDS.values(), ids=ENDS)
async def test_each_end_is_recorded(
    store: JobStore, outcome: Outcome, word: AttemptOutcome, usage: Usage | None
) -> None:
    job = await running_job(store, 3)
    await store.finish(job, outcome, job.progress, [], at(9), usage)
    error = outcome.error if isinstance(outcome, Failed | Retry) else None
    assert await attempts(store, job) == [PastAttempt(1, at(3), at(9), word, error, usage)]


@pytest.mark.parametrize("outcome", [DONE, BROKEN, Retry(ERROR, at(50))], ids=lambda outcome: type(outcome).__name__)
async def test_an_attempt_whose_cancel_came_first_was_cancelled(store: JobStore, outcome: Outcome) -> None:
    job = await running_job(store)
    await store.cancel(OWNER, job.id, at(1))
    await store.finish(job, outcome, job.progress, [], at(2), USED)
    assert await attempts(store, job) == [PastAttempt(1, at(0), at(2), AttemptOutcome.CANCELLED, None, USED)]


async def test_attempts_of_one_job_come_oldest_first_and_in_pages(store: JobStore) -> None:
    first = await running_job(store, max_attempts=3)
    await store.finish(first, Retry(ERROR, at(2)), first.progress, [], at(1), USED)
    second = (await claim_one(store, 2)).job
    await finish(store, second, Interrupted(), 3)
    third = (await claim_one(store, 4)).job
    expected = [
        PastAttempt(1, at(0), at(1), AttemptOutcome.RETRY, ERROR, USED),
        PastAttempt(2, at(2), at(3), AttemptOutcome.INTERRUPTED),
        PastAttempt(3, at(4)),
    ]
    assert await attempts(store, first) == expected
    assert await attempts(store, first, limit=2) == expected[:2]
    assert await attempts(store, first, after=2, limit=2) == expected[2:]
    assert await attempts(store, first, after=3) == []
    assert await attempts(store, first, after=99) == []
    await finish(store, third, Completed("1"), 5)
    assert (await attempts(store, first))[2] == PastAttempt(3, at(4), at(5), AttemptOutcome.COMPLETED)


async def test_a_cancel_between_two_attempts_changes_none(store: JobStore) -> None:
    job = await running_job(store, max_attempts=2)
    await finish(store, job, Retry(ERROR, at(50)), 1)
    await store.cancel(OWNER, job.id, at(2))
    assert await attempts(store, job) == [PastAttempt(1, at(0), at(1), AttemptOutcome.RETRY, ERROR)]


async def test_an_attempt_that_a_crash_ended_was_interrupted(backend: Backend) -> None:
    job = await running_job(backend.store)
    await backend.crash()
    store = await backend.open()
    await store.recover(at(7), max_recoveries=1)
    assert await attempts(store, job) == [PastAttempt(1, at(0), at(7), AttemptOutcome.INTERRUPTED)]
    again = (await claim_one(store, 8)).job
    await backend.crash()
    store = await backend.open()
    await store.recover(at(9), max_recoveries=1)
    last = (await attempts(store, again))[1]
    assert (last.number, last.started_at, last.ended_at, last.outcome) == (2, at(8), at(9), AttemptOutcome.FAILED)
    assert last.error is not None
    assert last.error.type == "interrupted"


async def test_attempts_are_deleted_with_their_job(store: JobStore) -> None:
    purged, expired, late = [await running_job(store, max_attempts=2, retain_s=60.0) for _ in range(3)]
    for job in (purged, expired):
        await store.finish(job, DONE, job.progress, [], at(1), USED)
    await store.delete(OWNER, purged.id, at(2))
    await store.delete(OWNER, late.id, at(2))
    await store.finish(late, BROKEN, late.progress, [], at(3), USED)
    assert await store.expire(at(61), 10) == 1
    for job in (purged, expired, late):
        later = job._replace(attempt=9)
        assert [attempt.number for attempt in await store.attempts(later, 0, 10)] == [9], "what the job itself says"
