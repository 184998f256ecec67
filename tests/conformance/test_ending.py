"""`Attempts.finish`, `Control` and expiry: each outcome, each race, and that an ended job stays ended."""

import asyncio
import random
from collections.abc import Awaitable

import pytest
from headway.domain.jobs import Job, OutputFile, Status
from headway.domain.outcomes import Cancelled, Completed, Failed, Interrupted, Outcome, Retry
from headway.domain.progress import Progress
from headway.errors import ClaimLostError, JobNotFoundError, JobStateError
from headway.ports.events import Bell, EventHub
from headway.ports.jobs import JobStore

from tests.conformance.backends import Backend
from tests.conformance.records import (
    BROKEN,
    DAY_S,
    DONE,
    ERROR,
    OWNER,
    at,
    claim_one,
    claim_up_to,
    ended_job,
    finish,
    line,
    new_job,
    running_job,
    tick,
)

LAST = Progress(
    percent=71.5, done=715, total=1000, unit="rows", message="nearly", step="two", rate_per_second=9.5, eta_s=3
)
KEPT = LAST._replace(rate_per_second=None, eta_s=None)
"""The progress of an ended job, which has no pace any more."""

OUTCOMES: dict[str, Outcome] = {
    "completed": DONE,
    "failed": BROKEN,
    "cancelled": Cancelled(),
    "interrupted": Interrupted(),
    "crashed": Interrupted(crashed=True),
    "retry": Retry(ERROR, at(50)),
}


async def test_a_completed_job_has_its_result_and_files(store: JobStore) -> None:
    files = (OutputFile("Grüße.txt", 7, "text/plain"), OutputFile("a.csv", 2**40, "text/csv"))
    job = await running_job(store, retain_s=60.0)
    ended = await finish(store, job, Completed('{"ü":1}', files), 9, LAST)
    assert (ended.status, ended.completed_at, ended.expires_at) == (Status.COMPLETED, at(9), at(69))
    assert (ended.files, ended.result_bytes, ended.error) == (files, len('{"ü":1}'.encode()), None)
    assert ended.progress == KEPT._replace(percent=100)
    assert (ended.failures, ended.interruptions) == (0, 0)
    assert ended.version > job.version
    assert await store.get(OWNER, job.id) == ended
    assert (await store.documents(OWNER, job.id)).result_json == '{"ü":1}'
    assert (await store.documents(OWNER, job.id, with_result=False)).result_json is None


async def test_a_result_url_is_kept_with_the_job(store: JobStore) -> None:
    job = await running_job(store)
    assert job.result_url is None
    ended = await finish(store, job, Completed("1", result_url="/api/todos/7"))
    assert ended.result_url == "/api/todos/7"
    kept = await store.delete_result(OWNER, job.id, at(2))
    assert (kept.result_bytes, kept.result_url) == (None, "/api/todos/7")


async def test_a_failed_job_has_its_error(store: JobStore) -> None:
    ended = await finish(store, await running_job(store, retain_s=60.0), Failed(ERROR), 9, LAST)
    assert (ended.status, ended.error, ended.failures) == (Status.FAILED, ERROR, 1)
    assert (ended.completed_at, ended.expires_at) == (at(9), at(69))
    assert ended.progress == KEPT
    assert (await store.documents(OWNER, ended.id)).result_json is None


async def test_a_cancelled_job_keeps_the_progress_it_made(store: JobStore) -> None:
    job = await running_job(store, retain_s=60.0)
    await store.cancel(OWNER, job.id, at(5))
    ended = await finish(store, job, Cancelled(), 9, LAST)
    assert (ended.status, ended.error, ended.failures) == (Status.CANCELLED, None, 0)
    assert (ended.completed_at, ended.expires_at, ended.cancel_requested) == (at(9), at(69), True)
    assert ended.progress == KEPT


async def test_a_failed_attempt_with_a_retry_is_queued_until_its_run_at(store: JobStore, hub: EventHub) -> None:
    job = await running_job(store, max_attempts=3)
    queued = hub.listen(Bell.QUEUED)
    waiting = await finish(store, job, Retry(ERROR, at(30)), 9, LAST)
    assert (waiting.status, waiting.run_at, waiting.failures, waiting.interruptions) == (Status.QUEUED, at(30), 1, 0)
    assert (waiting.completed_at, waiting.expires_at, waiting.error) == (None, None, None)
    assert waiting.progress.percent is None
    assert await queued.wait(5) == {job.id}
    assert (await claim_up_to(store, {"report": 1}, 1, seconds=29)).next_run_at == at(30)
    assert (await claim_one(store, 30)).job.attempt == 2


@pytest.mark.parametrize("crashed", [False, True])
async def test_an_interrupted_job_is_due_at_once_without_a_failure(store: JobStore, crashed: bool) -> None:
    job = await running_job(store)
    await store.checkpoint(job.id, 1, '{"row":7}')
    waiting = await finish(store, job, Interrupted(crashed=crashed), 9)
    assert (waiting.status, waiting.run_at) == (Status.QUEUED, job.run_at)
    assert (waiting.failures, waiting.recoveries, waiting.interruptions) == (0, int(crashed), 1)
    again = await claim_one(store, 9)
    assert (again.job.id, again.job.attempt, again.checkpoint_json) == (job.id, 2, '{"row":7}')


@pytest.mark.parametrize("outcome", OUTCOMES.values(), ids=OUTCOMES)
async def test_a_recorded_cancel_wins_over_any_outcome(store: JobStore, outcome: Outcome) -> None:
    job = await running_job(store)
    await store.cancel(OWNER, job.id, at(1))
    ended = await finish(store, job, outcome, 2)
    assert (ended.status, ended.error, ended.files, ended.result_bytes) == (Status.CANCELLED, None, (), None)
    assert (await store.documents(OWNER, job.id)).result_json is None
    assert await store.get(OWNER, job.id) == ended


@pytest.mark.parametrize("outcome", OUTCOMES.values(), ids=OUTCOMES)
async def test_a_running_job_is_deleted_when_its_attempt_ends(store: JobStore, hub: EventHub, outcome: Outcome) -> None:
    job = await running_job(store)
    marked = await store.delete(OWNER, job.id, at(1))
    assert (marked.status, marked.purge_requested) == (Status.RUNNING, True)
    assert await store.get(OWNER, job.id) == marked
    deleted, changed = hub.listen(Bell.DELETED), hub.listen(Bell.CHANGED)
    last = await finish(store, job, outcome, 2, lines=[line("stopped")])
    assert last.status is Status.CANCELLED
    assert await deleted.wait(5) == await changed.wait(5) == {job.id}
    await assert_gone(store, last)


async def assert_gone(store: JobStore, last: Job) -> None:
    with pytest.raises(JobNotFoundError):
        await store.get(OWNER, last.id)
    with pytest.raises(JobNotFoundError):
        await store.documents(OWNER, last.id)
    with pytest.raises(JobNotFoundError):
        await store.cancel(OWNER, last.id, at(9))
    assert store.departed(OWNER, last.id) == last
    assert await store.existing([last.id]) == frozenset()
    assert await store.logs(last.id, 0, 1_000, 1_000) == []
    assert not (await store.counts(OWNER)).by_type


@pytest.mark.parametrize("outcome", OUTCOMES.values(), ids=OUTCOMES)
async def test_a_current_attempt_can_always_be_ended(store: JobStore, outcome: Outcome) -> None:
    """Even one that reports a cancel that nobody requested: otherwise it would run for ever."""
    ended = await finish(store, await running_job(store), outcome, 2)
    assert ended.status is not Status.RUNNING


async def test_the_last_log_lines_and_the_end_are_recorded_in_one_step(store: JobStore) -> None:
    job = await running_job(store)
    ended = await finish(store, job, DONE, 2, lines=[line("almost"), line("done")])
    assert [(said.seq, said.message) for said in await store.logs(job.id, 0, 99, 99)] == [(3, "almost"), (4, "done")]
    assert (ended.last_seq, ended.state_seq) == (5, 5)


async def test_a_queued_job_is_cancelled_at_once(store: JobStore) -> None:
    job = await store.insert(new_job(retain_s=60.0))
    cancelled = await store.cancel(OWNER, job.id, at(3))
    assert (cancelled.status, cancelled.cancel_requested) == (Status.CANCELLED, True)
    assert (cancelled.completed_at, cancelled.expires_at, cancelled.started_at) == (at(3), at(63), None)
    assert cancelled.version > job.version
    assert (await claim_up_to(store, {"report": 1}, 1, seconds=9)).claims == []
    assert await store.get(OWNER, job.id) == cancelled


async def test_cancelling_a_running_job_marks_it_and_rings_the_cancel_bell(store: JobStore, hub: EventHub) -> None:
    job = await running_job(store)
    cancels, changed = hub.listen(Bell.CANCEL), hub.listen(Bell.CHANGED)
    marked = await store.cancel(OWNER, job.id, at(3))
    assert (marked.status, marked.cancel_requested, marked.purge_requested) == (Status.RUNNING, True, False)
    assert marked.version > job.version
    assert await cancels.wait(5) == await changed.wait(5) == {job.id}
    assert await store.get(OWNER, job.id) == marked


async def test_a_cancel_does_not_revoke_a_deletion(store: JobStore) -> None:
    job = await running_job(store)
    await store.delete(OWNER, job.id, at(1))
    assert (await store.cancel(OWNER, job.id, at(2))).purge_requested


async def test_a_cancel_does_not_set_progress_back(store: JobStore) -> None:
    """Ticks reach the disk later than watchers, so the cancel finds older progress there."""
    job = await running_job(store)
    for percent in (10.0, 20.0, 30.0):
        await tick(store, job, percent, 1)
    assert (await store.cancel(OWNER, job.id, at(3))).progress.percent == 30.0
    assert (await store.get(OWNER, job.id)).progress.percent == 30.0


@pytest.mark.parametrize("outcome", [DONE, BROKEN], ids=["completed", "failed"])
async def test_a_completed_or_failed_job_cannot_be_cancelled(store: JobStore, hub: EventHub, outcome: Outcome) -> None:
    ended = await ended_job(store, outcome)
    changed = hub.listen(Bell.CHANGED)
    with pytest.raises(JobStateError):
        await store.cancel(OWNER, ended.id, at(3))
    assert await store.get(OWNER, ended.id) == ended
    assert await changed.wait(0) == frozenset()


async def test_cancelling_a_cancelled_job_changes_nothing(store: JobStore) -> None:
    job = await store.insert(new_job())
    cancelled = await store.cancel(OWNER, job.id, at(1))
    assert await store.cancel(OWNER, job.id, at(2)) == cancelled
    assert await store.get(OWNER, job.id) == cancelled


@pytest.mark.parametrize("state", ["queued", "completed", "failed", "cancelled"])
async def test_a_job_that_is_not_running_is_deleted_at_once(store: JobStore, hub: EventHub, state: str) -> None:
    if state == "queued":
        job = await store.insert(new_job())
    else:
        job = await ended_job(store, OUTCOMES[state])
    deleted = hub.listen(Bell.DELETED)
    last = await store.delete(OWNER, job.id, at(3))
    assert last.status == ("cancelled" if state == "queued" else state)
    assert await deleted.wait(5) == {job.id}
    await assert_gone(store, last)


@pytest.mark.parametrize("seed", range(4))
async def test_commit_order_decides_between_an_end_and_a_cancel(store: JobStore, seed: int) -> None:
    """What is recorded first wins, and both callers get the same job."""
    chance = random.Random(seed)
    statuses = set()
    for _ in range(40):
        job = await running_job(store)
        ending = after(chance.randint(0, 4), finish(store, job, DONE))
        cancelling = after(chance.randint(0, 4), store.cancel(OWNER, job.id, at(1)))
        first, second = chance.sample((ending, cancelling), 2)
        answers = await asyncio.gather(first, second, return_exceptions=True)
        now = await store.get(OWNER, job.id)
        statuses.add(now.status)
        assert now.terminal
        assert now in answers
        refused = [answer for answer in answers if isinstance(answer, BaseException)]
        assert [type(error) for error in refused] == [JobStateError] * (now.status is Status.COMPLETED)
        assert now.state_seq == now.last_seq == 3
    assert statuses == {Status.COMPLETED, Status.CANCELLED}, "there was no race"


async def after(turns: int, answer: Awaitable[Job]) -> Job:
    """Begin some turns of the loop later, so that the order and the shared transactions vary."""
    for _ in range(turns):
        await asyncio.sleep(0)
    return await answer


async def test_of_many_simultaneous_ends_exactly_one_is_recorded(store: JobStore) -> None:
    for _ in range(20):
        job = await running_job(store)
        outcomes = [finish(store, job, outcome) for outcome in OUTCOMES.values()]
        answers = await asyncio.gather(*outcomes, return_exceptions=True)
        recorded = [answer for answer in answers if isinstance(answer, Job)]
        assert len(recorded) == 1
        assert sum(isinstance(answer, ClaimLostError) for answer in answers) == len(OUTCOMES) - 1
        assert await store.get(OWNER, job.id) == recorded[0]
        await store.delete(OWNER, job.id, at(9))


async def test_a_cancelled_caller_does_not_undo_an_end(backend: Backend) -> None:
    store = backend.store
    job = await running_job(store)
    ending = asyncio.create_task(finish(store, job, DONE))
    await asyncio.sleep(0)
    ending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ending
    await store.check_writable()
    assert (await store.get(OWNER, job.id)).status is Status.COMPLETED
    await backend.close()
    assert (await (await backend.open()).get(OWNER, job.id)).status is Status.COMPLETED


@pytest.mark.parametrize("retain_s", [0.0, 1e15, 1e300, float("inf")])
async def test_an_end_can_be_recorded_however_long_the_job_is_kept(store: JobStore, retain_s: float) -> None:
    ended = await ended_job(store, DONE, 2, retain_s=retain_s)
    assert ended.expires_at is not None
    assert ended.expires_at >= at(2)
    queued = await store.insert(new_job(retain_s=retain_s))
    assert (await store.cancel(OWNER, queued.id, at(3))).status is Status.CANCELLED


async def test_expired_jobs_are_deleted_in_batches(store: JobStore, hub: EventHub) -> None:
    kept = await ended_job(store, DONE, 1, retain_s=float(DAY_S))
    waiting = await store.insert(new_job(retain_s=0.0))
    going = [
        await ended_job(store, outcome, 1, type="import", retain_s=10.0) for outcome in list(OUTCOMES.values())[:3]
    ]
    assert await store.expire(at(10.999), 10) == 0
    deleted = hub.listen(Bell.DELETED)
    assert await store.expire(at(11), 2) == 2
    assert await store.expire(at(11), 2) == 1
    assert await store.expire(at(11), 2) == 0
    assert await deleted.wait(5) == {job.id for job in going}
    assert await store.existing([job.id for job in (kept, waiting, *going)]) == {kept.id, waiting.id}
    assert [store.departed(OWNER, job.id) for job in going] == going


@pytest.mark.parametrize("purge", [False, True])
async def test_an_expired_job_is_gone_for_clients_before_it_is_deleted(store: JobStore, purge: bool) -> None:
    job = await ended_job(store, DONE, 1, retain_s=10.0)
    with pytest.raises(JobNotFoundError):
        await (store.delete if purge else store.cancel)(OWNER, job.id, at(11))
    assert await store.expire(at(11), 10) == 1


async def test_many_attempts_that_end_at_once_end_each_in_its_own_way(store: JobStore) -> None:
    """Among them one that was cancelled, one that is to be deleted, and one that ends twice."""
    jobs = [await running_job(store) for _ in range(90)]
    stale, cancelled, deleted, _, *completed = jobs
    again = await finish(store, stale, Retry(ERROR, at(1)))
    restarted = (await claim_one(store, 2)).job
    assert restarted.id == again.id
    await store.cancel(OWNER, cancelled.id, at(2))
    await store.delete(OWNER, deleted.id, at(2))
    outcomes: list[Outcome] = [DONE, DONE, DONE, BROKEN, *(Completed(str(n)) for n in range(len(completed)))]
    ends = [
        finish(store, job, outcome, 3, Progress(done=n + 0.1, total=n), [line(f"line {n}")])
        for n, (job, outcome) in enumerate(zip(jobs, outcomes, strict=True))
    ]
    lost, *ended, twice, restarted_end = await asyncio.gather(
        *ends,
        finish(store, completed[0], BROKEN, 4),
        finish(store, restarted, Completed('"2"'), 4),
        return_exceptions=True,
    )
    assert isinstance(lost, ClaimLostError)
    assert isinstance(twice, ClaimLostError)
    assert isinstance(restarted_end, Job)
    assert (restarted_end.status, restarted_end.attempt) == (Status.COMPLETED, 2)
    states = [job.status for job in ended if isinstance(job, Job)]
    assert states == [Status.CANCELLED, Status.CANCELLED, Status.FAILED, *[Status.COMPLETED] * len(completed)]
    assert await store.existing([deleted.id]) == frozenset()
    for n, job in enumerate(completed):
        kept = await store.get(OWNER, job.id)
        assert (kept.progress.done, kept.progress.total) == (n + 4.1, n + 4)
        assert (await store.documents(OWNER, job.id)).result_json == str(n)
        assert [entry.message for entry in await store.logs(job.id, 0, kept.last_seq, 9)] == [f"line {n + 4}"]
    counts = (await store.counts(OWNER)).by_type["report"]
    assert (counts[Status.COMPLETED], counts[Status.CANCELLED], counts[Status.FAILED]) == (len(completed) + 1, 1, 1)
