"""The workers that ask for jobs: who gets the next one, and what becomes of it if that worker is gone."""

import asyncio
import threading
from pathlib import Path
from typing import Annotated, Any

import pytest
from headway import remote_job
from headway.domain.jobs import JobError
from headway.domain.outcomes import Interrupted
from headway.errors import LeaseLostError
from headway.running.attempt import Attempt, StopReason
from headway.running.calling import Lost, NotBegun, Raised, Returned, Stopped
from headway.running.remote.lease import LARGE_BYTES, TheLease
from headway.running.remote.workers import Workers
from pydantic import AfterValidator

from tests.support.attempts import FakeStore, a_job, an_attempt, registry_of
from tests.support.executing import ExecutorBench
from tests.support.process import WAIT_TIMEOUT_S

OOPS = JobError("oops", "Oops", None, 500)


@pytest.fixture
def workers() -> Workers:
    @remote_job("a-job", lease_s=600)
    def done_elsewhere() -> Any: ...

    return Workers(FakeStore(), registry_of(done_elsewhere))


async def ask(workers: Workers, wait_s: float = 50.0) -> "asyncio.Task[TheLease | None]":
    """A worker that has begun to ask."""
    task = asyncio.create_task(workers.claim("a-job", None, wait_s))
    await asyncio.sleep(0)
    assert workers.asking("a-job")
    return task


async def leased(workers: Workers) -> tuple[TheLease, Attempt]:
    asking, attempt = await ask(workers), an_attempt()
    workers.give(attempt)
    lease = await asking
    assert lease is not None
    return lease, attempt


async def test_the_worker_that_has_waited_longest_gets_the_next_job(workers: Workers) -> None:
    first, second = await ask(workers), await ask(workers)
    attempt = an_attempt()
    workers.give(attempt)
    lease = await first
    assert lease is not None
    assert lease.claim is attempt.claim
    assert workers.asking("a-job") == 1
    workers.send_away()
    assert await second is None


async def test_a_job_whose_worker_goes_in_the_moment_of_the_claim_has_not_begun(workers: Workers) -> None:
    asking, attempt = await ask(workers), an_attempt()
    workers.give(attempt)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    lease = workers.lease_of(attempt)
    assert lease is not None
    assert await lease.until_ended() == NotBegun()


async def test_a_job_for_which_no_worker_is_left_has_no_lease(workers: Workers) -> None:
    asking = await ask(workers)
    asking.cancel()
    await asyncio.wait({asking})
    attempt = an_attempt()
    workers.give(attempt)
    assert (workers.asking("a-job"), workers.lease_of(attempt)) == (0, None)


async def test_a_job_that_has_not_begun_is_queued_again_and_nothing_is_counted(tmp_path: Path) -> None:
    @remote_job("a-job", on_interrupt="fail")
    def done_elsewhere() -> None: ...

    bench = ExecutorBench(tmp_path)
    bench.serves(done_elsewhere)
    assert await bench.run() == Interrupted()


async def test_a_worker_that_does_not_wait_is_answered_after_the_claim_that_follows(workers: Workers) -> None:
    with workers.served():
        hasty = await ask(workers, 0.0)
    await asyncio.sleep(0)
    assert not hasty.done(), "that claim had begun before it asked"
    with workers.served():
        pass
    assert await hasty is None


async def test_what_a_lease_sends_after_its_end_is_refused(workers: Workers) -> None:
    lease, attempt = await leased(workers)
    reporting = asyncio.create_task(lease.fail(OOPS, retry=True))
    assert await lease.until_ended() == Raised(OOPS)
    with pytest.raises(LeaseLostError):
        lease.progress(done=1)
    with pytest.raises(LeaseLostError):
        lease.log("late", "info")
    with pytest.raises(LeaseLostError):
        await lease.complete(1, None)
    attempt.recorded = a_job()
    workers.ended(attempt)
    assert await reporting == attempt.recorded
    assert await workers.reported(lease.token, "a-job", None) == attempt.recorded
    for token, job_type, worker in ((lease.token, "a-job", None), (lease.token, "other", None), ("", "a-job", None)):
        with pytest.raises(LeaseLostError):
            workers.find(token, job_type, worker)
    assert await workers.reported(lease.token, "a-job", "another key") is None


async def test_a_report_that_is_repeated_while_the_first_is_being_recorded_has_the_same_answer(
    workers: Workers,
) -> None:
    lease, attempt = await leased(workers)
    assert await workers.reported(lease.token, "a-job", None) is None, "nothing was reported yet"
    first = asyncio.create_task(lease.fail(OOPS, retry=True))
    await lease.until_ended()
    repeated = asyncio.create_task(workers.reported(lease.token, "a-job", None))
    given_up = asyncio.create_task(workers.reported(lease.token, "a-job", None))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.wait({given_up})
    assert await workers.reported(lease.token, "a-job", "another key") is None
    assert await workers.reported(lease.token, "other", None) is None
    assert not repeated.done()
    attempt.recorded = a_job()
    workers.ended(attempt)
    assert await first == await repeated == attempt.recorded


async def test_a_report_whose_end_cannot_be_recorded_has_no_answer(workers: Workers) -> None:
    lease, attempt = await leased(workers)
    first = asyncio.create_task(lease.fail(OOPS, retry=True))
    await lease.until_ended()
    repeated = asyncio.create_task(workers.reported(lease.token, "a-job", None))
    await asyncio.sleep(0)
    workers.ended(attempt)
    with pytest.raises(LeaseLostError):
        await first
    assert await repeated is None


async def test_an_end_that_no_worker_has_reported_is_not_waited_for(workers: Workers) -> None:
    lease, _ = await leased(workers)
    lease._heard_s -= 600
    assert isinstance(await lease.until_ended(), Lost)
    assert await workers.reported(lease.token, "a-job", None) is None


async def test_a_lease_does_not_run_out_while_a_request_is_under_way(workers: Workers) -> None:
    lease, _ = await leased(workers)
    lease._heard_s -= 600
    with lease.in_use():
        assert lease._left_s() == 600
    assert lease._left_s() > 590, "it was heard from at the end of the request"
    lease._heard_s -= 600
    assert isinstance(await lease.until_ended(), Lost)


async def test_a_worker_that_was_told_to_stop_has_its_grace_and_then_no_lease(workers: Workers) -> None:
    lease, attempt = await leased(workers)
    attempt.stop(StopReason.CANCEL, 5.0)
    assert lease._left_s() > 590, "it has not been told"
    assert lease.state().stop == "cancel"
    assert 0 < lease._left_s() <= 5
    attempt.grace_s = 0.0
    assert await lease.until_ended() == Stopped()


@pytest.mark.parametrize("why", ["shutdown", "limit"])
async def test_an_attempt_that_nobody_waits_for_ends_at_once(workers: Workers, why: str) -> None:
    lease, attempt = await leased(workers)
    if why == "limit":
        attempt.exceed(OOPS, 5.0)
    else:
        attempt.stop(StopReason.SHUTDOWN, 5.0)
        workers.stop()
    assert await lease.until_ended() == Stopped()


async def test_no_worker_gets_a_lease_from_a_claim_that_ends_after_the_stop(workers: Workers) -> None:
    """Nobody would abandon it: the attempt would last as long as its lease, and the shutdown would wait."""
    first, claimed = await ask(workers), asyncio.Event()

    async def claim_in_progress() -> Attempt:
        with workers.served():
            await claimed.wait()
            attempt = an_attempt()
            workers.give(attempt)
            return attempt

    claiming = asyncio.create_task(claim_in_progress())
    await asyncio.sleep(0)
    workers.stop()
    late = asyncio.create_task(workers.claim("a-job", None, 50.0))
    await asyncio.sleep(0)
    claimed.set()
    assert workers.lease_of(await claiming) is None
    assert (await first, await late) == (None, None)


async def test_large_results_are_validated_one_at_a_time() -> None:
    """Side by side, they would leave the event loop a part of the interpreter."""
    begun, first, go_on = list[int](), threading.Event(), threading.Event()

    def slowly(value: list[str]) -> list[str]:
        begun.append(len(value))
        first.set()
        assert go_on.wait(WAIT_TIMEOUT_S)
        return value

    @remote_job("a-job", lease_s=600)
    def done_elsewhere() -> Annotated[list[str], AfterValidator(slowly)]:
        raise NotImplementedError

    workers = Workers(FakeStore(), registry_of(done_elsewhere))
    leases = [await leased(workers), await leased(workers)]
    large = ["a" * LARGE_BYTES]
    completing = [asyncio.create_task(lease.complete(large, None)) for lease, _ in leases]
    await asyncio.to_thread(first.wait, WAIT_TIMEOUT_S)
    for _ in range(1_000):
        await asyncio.sleep(0)
    together = len(begun)
    go_on.set()
    assert together == 1
    for lease, attempt in leases:
        assert isinstance(await lease.until_ended(), Returned)
        attempt.recorded = a_job()
        workers.ended(attempt)
    await asyncio.gather(*completing)


async def test_a_lease_that_ends_while_its_result_is_validated_has_no_result() -> None:
    validating, go_on = threading.Event(), threading.Event()

    def slowly(value: list[str]) -> list[str]:
        validating.set()
        assert go_on.wait(WAIT_TIMEOUT_S)
        return value

    @remote_job("a-job", lease_s=600)
    def done_elsewhere() -> Annotated[list[str], AfterValidator(slowly)]:
        raise NotImplementedError

    workers = Workers(FakeStore(), registry_of(done_elsewhere))
    lease, attempt = await leased(workers)
    completing = asyncio.create_task(lease.complete(["a" * LARGE_BYTES], None))
    await asyncio.to_thread(validating.wait, WAIT_TIMEOUT_S)
    failing = asyncio.create_task(lease.fail(OOPS, retry=False))
    assert await lease.until_ended() == Raised(OOPS, final=True)
    go_on.set()
    with pytest.raises(LeaseLostError):
        await completing
    attempt.recorded = a_job()
    workers.ended(attempt)
    assert await failing == attempt.recorded
