"""The executor: from a claimed attempt to its recorded outcome, with a record and files that are fakes."""

import asyncio
import math
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from headway import Context, JobFailed
from headway.clock import utc_now
from headway.domain.jobs import JobError, OutputFile, Status, UploadedFile
from headway.domain.outcomes import BACKOFF_BASE_S, INTERRUPTED, Cancelled, Completed, Failed, Interrupted, Retry
from headway.errors import ClaimLostError, InvalidOutputError, JobNotFoundError, StoreUnavailableError
from headway.running import recording
from headway.running.attempt import StopReason
from headway.running.executor import CANCELLED_BY_OTHERS, STOPPED_BY_ITSELF
from headway.running.slots import Slot

from tests.support.attempts import LIMITS, a_job, an_attempt
from tests.support.executing import Body, ExecutorBench


@pytest.fixture
def bench(tmp_path: Path) -> ExecutorBench:
    return ExecutorBench(tmp_path)


@pytest.fixture(autouse=True)
def _no_pause_before_recording_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "RECORD_AGAIN_AFTER_S", 0.0)


@pytest.fixture
def logged() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as entries:
        yield entries


async def returns(ctx: Context) -> dict[str, int]:
    return {"answer": 42}


async def writes(ctx: Context) -> None:
    (ctx.output_dir / "report.html").write_text("<p>7")


async def writes_and_raises(ctx: Context) -> None:
    await writes(ctx)
    raise ValueError("broken")


async def raises(ctx: Context) -> None:
    raise ValueError("broken")


async def waits(ctx: Context) -> None:
    await asyncio.Event().wait()


# Returning


async def test_a_job_completes_with_its_result(bench: ExecutorBench) -> None:
    bench.handles(returns)
    assert await bench.run() == Completed('{"answer":42}')
    assert bench.outcomes == {"completed": 1}
    assert bench.failures == []


async def test_the_last_report_and_log_line_are_recorded_with_the_outcome(bench: ExecutorBench) -> None:
    async def reports(ctx: Context) -> None:
        ctx.progress(done=3, total=4)
        ctx.log("nearly there")

    bench.handles(reports)
    await bench.run()
    (finished,) = bench.store.finished
    assert (finished.progress.done, finished.progress.percent, finished.messages) == (3, 75.0, ["nearly there"])


async def test_output_is_published_before_the_outcome_is_recorded(bench: ExecutorBench) -> None:
    bench.files.output = (OutputFile("report.html", 5, "text/html"),)
    bench.files.notes = ("left out: link",)
    bench.files.has_files = True
    bench.handles(writes)
    outcome = await bench.run()
    assert outcome.files == bench.files.output
    assert bench.files.calls == ["publish output", "discard work"]
    assert bench.messages == ["left out: link"]


async def test_output_that_cannot_be_published_fails_the_attempt(bench: ExecutorBench) -> None:
    bench.files.publishing_fails = OSError(28, "No space left on device")
    bench.files.has_files = True
    bench.handles(writes)
    outcome = await bench.run()
    assert isinstance(outcome, Failed)
    assert outcome.error.type == "output-lost"
    assert bench.files.calls == ["publish output", "discard output", "discard work"]


async def test_output_that_no_retry_would_mend_fails_the_job(bench: ExecutorBench) -> None:
    bench.files.publishing_fails = InvalidOutputError("The output directory was replaced", "By a link.")
    bench.files.has_files = True
    bench.handles(writes, max_attempts=3)
    outcome = await bench.run(an_attempt(a_job(max_attempts=3)))
    assert outcome == Failed(JobError("invalid-output", "The output directory was replaced", "By a link.", 500))
    assert bench.files.calls == ["publish output", "discard output", "discard work"]
    assert bench.messages == ["The output directory was replaced: By a link."]


async def test_nobody_looks_for_files_of_a_job_that_has_asked_for_none(bench: ExecutorBench) -> None:
    bench.files.has_files = True
    bench.handles(returns)
    await bench.run()
    assert bench.files.calls == []
    await bench.run(an_attempt(a_job(attempt=2)))
    assert bench.files.calls == ["discard output", "discard work"], "an earlier attempt may have left some"


async def test_a_result_that_is_not_a_number_is_invalid_output(bench: ExecutorBench) -> None:
    async def returns_nan(ctx: Context) -> float:
        return math.nan

    bench.handles(returns_nan, max_attempts=5)
    outcome = await bench.run(an_attempt(a_job(max_attempts=5)))
    assert isinstance(outcome, Failed), "no retry would fix it"
    assert outcome.error.type == "invalid-output"


async def test_an_attempt_is_handed_its_checkpoint_and_stores_others(bench: ExecutorBench) -> None:
    seen: list[Any] = []

    async def resumes(ctx: Context) -> None:
        seen.append(ctx.resumed)
        await ctx.checkpoint({"page": 6})

    bench.handles(resumes)
    await bench.run(an_attempt(checkpoint_json='{"page": 5}'))
    assert seen == [{"page": 5}]
    assert bench.store.checkpoints == ['{"page":6}']


# Raising


async def test_a_failure_is_retried_after_a_pause_while_attempts_are_left(bench: ExecutorBench) -> None:
    bench.handles(raises)
    before = utc_now()
    outcome = await bench.run(an_attempt(a_job(max_attempts=3, failures=1)))
    assert isinstance(outcome, Retry)
    assert outcome.error.detail == "ValueError: broken"
    assert timedelta(0) <= outcome.run_at - before <= timedelta(seconds=2 * BACKOFF_BASE_S + 1)
    assert bench.messages[0] == "The job's handler raised an error: ValueError: broken"
    assert bench.messages[1].startswith("attempt 1 failed, the next one starts in ")
    assert bench.outcomes == {"retry": 1}
    assert bench.failures == [], "the job has not failed"


async def test_the_last_failure_ends_the_job_and_is_reported(bench: ExecutorBench, logged: list[Any]) -> None:
    bench.handles(raises)
    attempt = an_attempt(a_job(max_attempts=3, failures=2))
    assert isinstance(await bench.run(attempt), Failed)
    ((job_id, exception),) = bench.failures
    assert job_id == attempt.job.id
    assert isinstance(exception, ValueError)
    (raised,) = [entry for entry in logged if entry["event"] == "the handler raised"]
    assert (raised["type"], "ValueError: broken" in raised["traceback"]) == ("a-job", True)


async def test_a_job_failed_is_not_retried(bench: ExecutorBench) -> None:
    async def gives_up(ctx: Context) -> None:
        raise JobFailed("No pictures", status=409, type="no-pictures")

    bench.handles(gives_up)
    outcome = await bench.run(an_attempt(a_job(max_attempts=3)))
    assert outcome == Failed(JobError("no-pictures", "No pictures", None, 409))


async def test_a_handler_that_exits_fails_its_job_only(bench: ExecutorBench) -> None:
    async def exits(ctx: Context) -> None:
        raise SystemExit(3)

    bench.handles(exits)
    outcome = await bench.run()
    assert isinstance(outcome, Failed)
    assert outcome.error.detail == "SystemExit: 3"


async def test_a_handler_that_is_cancelled_from_inside_has_failed(bench: ExecutorBench) -> None:
    async def cancels_itself(ctx: Context) -> None:
        raise asyncio.CancelledError

    bench.handles(cancels_itself)
    assert await bench.run() == Failed(STOPPED_BY_ITSELF)


async def test_a_job_whose_type_is_gone_since_it_was_claimed_goes_back_into_the_queue(bench: ExecutorBench) -> None:
    bench.handles_nothing()
    assert await bench.run() == Interrupted()


async def test_an_error_in_the_server_fails_the_attempt(bench: ExecutorBench, logged: list[Any]) -> None:
    upload = UploadedFile("document", "x.pdf", "application/pdf", 5)
    bench.handles(returns)
    outcome = await bench.run(an_attempt(a_job(uploads=(upload,))))  # of which the fake knows nothing
    assert isinstance(outcome, Failed)
    assert (outcome.error.type, outcome.error.detail) == ("server-error", "KeyError: 'document'")
    assert "the attempt could not be performed" in [entry["event"] for entry in logged]


# Stopping


async def stopped_while_running(bench: ExecutorBench, reason: StopReason, body: Body = waits, **limits: Any) -> Any:
    begun = asyncio.Event()

    async def begins(ctx: Context) -> Any:
        begun.set()
        return await body(ctx)

    bench.handles(begins, **limits)
    attempt = an_attempt(a_job(max_attempts=3))
    running = asyncio.create_task(bench.run(attempt))
    await begun.wait()
    attempt.stop(reason, 5.0)
    return await running


async def test_a_cancelled_job_ends_cancelled(bench: ExecutorBench) -> None:
    assert await stopped_while_running(bench, StopReason.CANCEL) == Cancelled()
    assert bench.outcomes == {"cancelled": 1}
    assert bench.failures == []


async def test_a_job_that_is_cancelled_before_it_begins_never_begins(bench: ExecutorBench) -> None:
    begun = False

    async def begins(ctx: Context) -> None:
        nonlocal begun
        begun = True

    bench.handles(begins)
    attempt = an_attempt()
    attempt.stop(StopReason.CANCEL, 5.0)
    assert await bench.run(attempt) == Cancelled()
    assert not begun


async def test_a_handler_may_complete_although_it_was_asked_to_stop(bench: ExecutorBench) -> None:
    async def finishes(ctx: Context) -> str:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        assert ctx.cancelled
        return "done after all"

    assert await stopped_while_running(bench, StopReason.TIMEOUT, finishes) == Completed('"done after all"')


async def test_a_handler_that_fails_while_it_stops_is_cancelled_by_the_record(bench: ExecutorBench) -> None:
    async def fails(ctx: Context) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise RuntimeError("while cleaning up")

    outcome = await stopped_while_running(bench, StopReason.CANCEL, fails)
    assert isinstance(outcome, Retry), "a cancel is in the record, which then decides"


async def test_at_a_shutdown_the_job_goes_back_into_the_queue(bench: ExecutorBench) -> None:
    assert await stopped_while_running(bench, StopReason.SHUTDOWN) == Interrupted()
    assert bench.outcomes == {"interrupted": 1}


async def test_a_job_that_must_not_run_twice_fails_at_a_shutdown(bench: ExecutorBench) -> None:
    assert await stopped_while_running(bench, StopReason.SHUTDOWN, on_interrupt="fail") == Failed(INTERRUPTED)


async def test_a_job_whose_process_was_lost_runs_again_like_after_a_crash(bench: ExecutorBench) -> None:
    bench.loses_processes()
    assert await bench.run(an_attempt(a_job(recoveries=LIMITS.max_recoveries - 1))) == Interrupted(crashed=True)
    assert await bench.run(an_attempt(a_job(recoveries=LIMITS.max_recoveries))) == Failed(INTERRUPTED, crashed=True)


async def test_a_job_that_must_not_run_twice_fails_if_its_process_was_lost(bench: ExecutorBench) -> None:
    bench.loses_processes(on_interrupt="fail")
    assert await bench.run() == Failed(INTERRUPTED, crashed=True)


async def test_a_job_over_its_time_limit_is_stopped_and_retried(bench: ExecutorBench) -> None:
    bench.handles(waits)
    outcome = await bench.run(an_attempt(a_job(timeout_s=0.0, max_attempts=2)))
    assert isinstance(outcome, Retry)
    assert (outcome.error.type, outcome.error.detail) == ("timeout", "The limit is 0 s.")


async def test_a_stalled_job_is_stopped(bench: ExecutorBench) -> None:
    bench.handles(waits, stall_timeout_s=1e-9)
    outcome = await bench.run()
    assert isinstance(outcome, Failed)
    assert outcome.error.type == "stalled"


async def test_a_handler_that_swallows_its_cancellation_is_abandoned(bench: ExecutorBench, logged: list[Any]) -> None:
    may_end = asyncio.Event()

    async def swallows(ctx: Context) -> None:
        while not may_end.is_set():
            with suppress(asyncio.CancelledError):
                await may_end.wait()

    bench.handles(swallows)
    attempt = an_attempt()
    running = asyncio.create_task(bench.run(attempt))
    await asyncio.sleep(0)
    attempt.stop(StopReason.CANCEL, 0.0)
    assert await running == Cancelled()
    assert "the handler swallowed its cancellation and was abandoned" in [entry["event"] for entry in logged]
    (task,) = bench.executor.abandoned
    may_end.set()
    await asyncio.wait({task})
    assert not bench.executor.abandoned


# Recording


@pytest.mark.parametrize("error", [ClaimLostError("stale"), JobNotFoundError("gone")])
async def test_an_outcome_is_dropped_when_the_claim_is_lost(bench: ExecutorBench, error: Exception) -> None:
    bench.files.has_files = True
    bench.store.raises["finish"] = [error]
    bench.handles(raises)
    await bench.executor.execute(an_attempt())
    assert bench.store.finished == []
    assert bench.files.calls == [], "they may be another attempt's by now"
    assert bench.outcomes == {"lost": 1}
    assert bench.failures == []


async def test_an_outcome_is_recorded_as_soon_as_the_store_can_be_written(bench: ExecutorBench) -> None:
    bench.store.raises["finish"] = [StoreUnavailableError("disk full") for _ in range(3)]
    bench.handles(returns)
    assert await bench.run() == Completed('{"answer":42}')
    assert len(bench.store.finished) == 1


async def test_the_slot_is_left_before_the_end_is_recorded_and_taken_again_while_it_cannot_be(
    bench: ExecutorBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []
    finish, when_finishing = bench.store.finish, list[int]()

    async def noted(*arguments: Any) -> Any:
        when_finishing.append(sum(taken))
        return await finish(*arguments)

    monkeypatch.setattr(bench.store, "finish", noted)
    bench.store.raises["finish"] = [StoreUnavailableError("disk full")]
    bench.handles(returns)
    attempt = an_attempt()
    attempt.slot = Slot(taken.append)
    await bench.run(attempt)
    assert when_finishing == [0, 1]


async def test_an_attempt_whose_task_somebody_cancels_is_interrupted(bench: ExecutorBench) -> None:
    begun = asyncio.Event()

    async def begins(ctx: Context) -> None:
        begun.set()
        await asyncio.Event().wait()

    bench.handles(begins)
    running = asyncio.create_task(bench.run())
    await begun.wait()
    running.cancel()
    assert isinstance(await running, Interrupted)
    assert bench.messages == [CANCELLED_BY_OTHERS]


async def test_an_outcome_is_recorded_although_the_executor_is_cancelled(
    bench: ExecutorBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_record, finish = asyncio.Event(), bench.store.finish

    async def slow(*arguments: Any) -> Any:
        await may_record.wait()
        return await finish(*arguments)

    monkeypatch.setattr(bench.store, "finish", slow)
    bench.handles(returns)
    running = asyncio.create_task(bench.run())
    for _ in range(5):
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.sleep(0)
    may_record.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert [finished.outcome for finished in bench.store.finished] == [Completed('{"answer":42}')]


async def test_what_a_failed_attempt_wrote_is_discarded(bench: ExecutorBench) -> None:
    bench.files.has_files = True
    bench.handles(writes_and_raises)
    await bench.run()
    assert bench.files.calls == ["discard output", "discard work"]


async def test_a_retry_finds_its_work_directory_as_it_was(bench: ExecutorBench) -> None:
    bench.files.has_files = True
    bench.handles(writes_and_raises)
    await bench.run(an_attempt(a_job(max_attempts=2)))
    assert bench.files.calls == ["discard output"]


async def test_only_the_first_start_counts_as_waiting(bench: ExecutorBench) -> None:
    bench.handles(returns)
    await bench.run(an_attempt(a_job()))
    await bench.run(an_attempt(a_job(interruptions=1)))
    assert bench.metrics.waited["a-job"].count == 1
    assert bench.store.finished[-1].job.status is Status.RUNNING
