"""Deadlines: which of a running attempt's limits comes first."""

import asyncio
import math
from types import SimpleNamespace

import pytest
from headway.running.attempt import Attempt, StopReason
from headway.running.deadlines import Deadlines, until_stopped

from tests.support.attempts import a_job, an_attempt

STARTED_S = 1000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The clock of `deadlines`; `now_s` is the test's to set."""
    clock = SimpleNamespace(now_s=STARTED_S)
    monkeypatch.setattr("headway.running.deadlines.steady_s", lambda: clock.now_s)
    return clock


def attempt_with(timeout_s: float | None, last_sign_s: float = STARTED_S) -> Attempt:
    attempt = an_attempt(a_job(timeout_s=timeout_s))
    attempt.last_sign_s = last_sign_s
    return attempt


def deadlines_of(attempt: Attempt, stall_timeout_s: float | None = None) -> Deadlines:
    return Deadlines(attempt, stall_timeout_s=stall_timeout_s, grace_s=3.0)


async def test_without_limits_there_is_no_deadline(clock: SimpleNamespace) -> None:
    assert deadlines_of(attempt_with(None)).check() == math.inf


async def test_the_time_limit_counts_from_the_start(clock: SimpleNamespace) -> None:
    attempt = attempt_with(10)
    deadlines = deadlines_of(attempt)
    clock.now_s += 4
    assert (deadlines.check(), attempt.stop_reason) == (6, None)
    clock.now_s += 6
    assert (deadlines.check(), attempt.stop_reason) == (0, StopReason.TIMEOUT)


async def test_silence_counts_from_the_last_sign(clock: SimpleNamespace) -> None:
    attempt = attempt_with(None, STARTED_S + 3)
    deadlines = deadlines_of(attempt, 2)
    clock.now_s += 4
    assert (deadlines.check(), attempt.stop_reason) == (1, None)
    clock.now_s += 1
    assert (deadlines.check(), attempt.stop_reason) == (0, StopReason.STALLED)


@pytest.mark.parametrize(("timeout_s", "reason"), [(10, StopReason.STALLED), (1, StopReason.TIMEOUT)])
async def test_the_sooner_of_two_limits_counts(clock: SimpleNamespace, timeout_s: float, reason: StopReason) -> None:
    attempt = attempt_with(timeout_s)
    deadlines = deadlines_of(attempt, 2)
    assert deadlines.check() == min(timeout_s, 2)
    clock.now_s += 20
    deadlines.check()
    assert attempt.stop_reason is reason


async def test_a_process_that_has_not_begun_is_checked_in_time_for_when_it_has(clock: SimpleNamespace) -> None:
    assert deadlines_of(attempt_with(None, STARTED_S + 60), 2).check() == 2


async def test_the_attempt_is_asked_to_stop_when_a_deadline_has_passed() -> None:
    attempt = attempt_with(0.0)
    running = asyncio.create_task(asyncio.Event().wait())
    await until_stopped(attempt, running, stall_timeout_s=None, grace_s=3.0)
    assert (attempt.stop_reason, attempt.grace_s, running.done()) == (StopReason.TIMEOUT, 3.0, False)
    running.cancel()


async def test_it_waits_no_longer_than_the_handler_runs() -> None:
    attempt = an_attempt()
    await until_stopped(attempt, asyncio.create_task(asyncio.sleep(0)), stall_timeout_s=60, grace_s=3.0)
    assert attempt.stop_reason is None


async def test_it_ends_when_the_attempt_is_asked_to_stop() -> None:
    attempt = attempt_with(600.0)
    running = asyncio.create_task(asyncio.Event().wait())
    waiting = asyncio.create_task(until_stopped(attempt, running, stall_timeout_s=None, grace_s=3.0))
    await asyncio.sleep(0)
    attempt.stop(StopReason.CANCEL, 1.0)
    attempt.stop(StopReason.TIMEOUT, 9.0)
    await waiting
    assert (attempt.stop_reason, attempt.grace_s) == (StopReason.CANCEL, 1.0), "the first reason counts"
    running.cancel()
