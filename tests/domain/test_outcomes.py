"""What an attempt's end means for its job: pure functions, without a server or a store."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from headway.domain.ids import JobIds
from headway.domain.jobs import TRANSITIONS, Job, JobError, NewJob, Status, Transition
from headway.domain.outcomes import (
    BACKOFF_CAP_S,
    INTERRUPTED,
    Cancelled,
    Completed,
    Counted,
    Failed,
    Interrupted,
    Outcome,
    Retry,
    after_crash,
    after_failure,
    after_shutdown,
    backoff_s,
    counted,
    transition_of,
)

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
ERROR = JobError("handler-error", "It broke", None, 500)


def running_job(**fields: Any) -> Job:
    new = NewJob(JobIds().new(NOON)[0], "local", "report", "{}", NOON, NOON, 60, max_attempts=3)
    return Job.queued(new)._replace(**{"status": Status.RUNNING, "attempt": 1, **fields})


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (Completed("null"), Status.COMPLETED),
        (Failed(ERROR), Status.FAILED),
        (Cancelled(), Status.CANCELLED),
        (Interrupted(), Status.QUEUED),
        (Retry(ERROR, NOON), Status.QUEUED),
    ],
)
def test_every_outcome_moves_a_running_job(outcome: Outcome, status: Status) -> None:
    assert TRANSITIONS[transition_of(outcome)] == (Status.RUNNING, status)


def test_a_failure_counts_against_the_attempts_and_a_crash_against_the_recoveries() -> None:
    assert counted(Failed(ERROR)) == counted(Retry(ERROR, NOON)) == Counted(failures=1)
    assert counted(Failed(ERROR, crashed=True)) == Counted(recoveries=1, interruptions=1)
    assert counted(Interrupted(crashed=True)) == Counted(recoveries=1, interruptions=1)


def test_an_orderly_stop_counts_against_no_limit() -> None:
    assert counted(Interrupted()) == Counted(interruptions=1)


def test_results_and_cancels_count_against_nothing() -> None:
    assert counted(Completed("null")) == counted(Cancelled()) == Counted()


def test_a_failed_attempt_is_retried_after_a_back_off() -> None:
    assert after_failure(running_job(), ERROR, NOON, 0.5) == Retry(ERROR, NOON + timedelta(seconds=1))
    assert after_failure(running_job(failures=1), ERROR, NOON, 0.5) == Retry(ERROR, NOON + timedelta(seconds=2))


def test_the_last_attempt_fails_the_job() -> None:
    assert after_failure(running_job(failures=2), ERROR, NOON, 0.5) == Failed(ERROR)


def test_crashes_and_orderly_stops_use_up_no_attempt() -> None:
    tired = running_job(attempt=40, recoveries=20, interruptions=39)
    assert isinstance(after_failure(tired, ERROR, NOON, 0.5), Retry)


@pytest.mark.parametrize(("recoveries", "limit"), [(0, 1), (2, 3), (0, 3)])
def test_a_job_that_was_running_at_a_crash_is_queued_again(recoveries: int, limit: int) -> None:
    assert after_crash(running_job(recoveries=recoveries), limit) == Interrupted(crashed=True)


@pytest.mark.parametrize(("recoveries", "limit"), [(0, 0), (3, 3), (5, 3)])
def test_a_job_that_crashed_too_often_fails(recoveries: int, limit: int) -> None:
    assert after_crash(running_job(recoveries=recoveries), limit) == Failed(INTERRUPTED, crashed=True)


@pytest.mark.parametrize("limit", [0, 3])
def test_a_cancel_recorded_before_a_crash_wins(limit: int) -> None:
    assert after_crash(running_job(cancel_requested=True), limit) == Cancelled()


def test_an_orderly_shutdown_queues_the_job_again_unless_it_must_not_start_twice() -> None:
    assert after_shutdown(may_restart=True) == Interrupted()
    assert after_shutdown(may_restart=False) == Failed(INTERRUPTED)


def test_the_back_off_doubles_and_is_capped() -> None:
    assert [backoff_s(failures, 1.0) for failures in range(4)] == [2.0, 4.0, 8.0, 16.0]
    assert backoff_s(20, 1.0) == backoff_s(1_000, 1.0) == BACKOFF_CAP_S


def test_the_back_off_has_full_jitter() -> None:
    assert backoff_s(3, 0.0) == 0.0
    assert backoff_s(3, 0.5) == 8.0


def test_outcomes_reach_every_transition_out_of_running() -> None:
    outcomes: list[Outcome] = [Completed("null"), Failed(ERROR), Cancelled(), Interrupted(), Retry(ERROR, NOON)]
    reached = {transition_of(outcome) for outcome in outcomes}
    assert set(Transition) - reached == {Transition.CLAIM, Transition.CANCEL_QUEUED}
