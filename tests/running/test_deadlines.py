"""Deadlines: which of a running attempt's limits comes first."""

import asyncio
import math
from types import SimpleNamespace

import pytest
from headway.running.attempt import Attempt, StopReason
from headway.running.deadlines import _next_deadline, until_stopped

from tests.support.attempts import a_job, an_attempt

STARTED_S = 1000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The clock of `deadlines`; `now_s` is the test's to set."""
    clock = SimpleNamespace(now_s=STARTED_S)
    monkeypatch.setattr("headway.running.deadlines.time", SimpleNamespace(monotonic=lambda: clock.now_s))
    return clock


def attempt_with(timeout_s: float | None, last_sign_s: float = STARTED_S) -> Attempt:
    attempt = an_attempt(a_job(timeout_s=timeout_s))
    attempt.last_sign_s = last_sign_s
    return attempt


async def test_without_limits_there_is_no_deadline(clock: SimpleNamespace) -> None:
    assert _next_deadline(attempt_with(None), STARTED_S, None)[1] == math.inf


async def test_the_time_limit_counts_from_the_start(clock: SimpleNamespace) -> None:
    clock.now_s += 4
    assert _next_deadline(attempt_with(10), STARTED_S, None) == (StopReason.TIMEOUT, 6)


async def test_silence_counts_from_the_last_sign(clock: SimpleNamespace) -> None:
    clock.now_s += 4
    assert _next_deadline(attempt_with(None, STARTED_S + 3), STARTED_S, 2) == (StopReason.STALLED, 1)


async def test_the_sooner_of_two_limits_counts(clock: SimpleNamespace) -> None:
    assert _next_deadline(attempt_with(10), STARTED_S, 2) == (StopReason.STALLED, 2)
    assert _next_deadline(attempt_with(1), STARTED_S, 2) == (StopReason.TIMEOUT, 1)


async def test_a_process_that_has_not_begun_is_checked_in_time_for_when_it_has(clock: SimpleNamespace) -> None:
    assert _next_deadline(attempt_with(None, STARTED_S + 60), STARTED_S, 2) == (StopReason.STALLED, 2)


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
