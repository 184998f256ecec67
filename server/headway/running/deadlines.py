"""The deadlines of a running attempt: its time limit, and how long it may show no sign of progress."""

import asyncio
import math
import time
from typing import Any

from .attempt import Attempt, StopReason


async def until_stopped(
    attempt: Attempt, task: asyncio.Task[Any], *, stall_timeout_s: float | None, grace_s: float
) -> None:
    """Wait until the handler's task ends, a deadline passes, or the attempt is asked to stop.

    When a deadline passes, the attempt is asked to stop within `grace_s` seconds.
    """
    started_s = time.monotonic()
    task.add_done_callback(attempt.settle)
    if attempt.job.timeout_s is None and stall_timeout_s is None:
        await attempt.settled  # most jobs have no deadline: `wait` takes several times as long
        return
    while not task.done() and attempt.stop_reason is None:
        reason, left_s = _next_deadline(attempt, started_s, stall_timeout_s)
        if left_s > 0:
            await asyncio.wait({attempt.settled}, timeout=left_s)
        else:
            attempt.stop(reason, grace_s)


def _next_deadline(attempt: Attempt, started_s: float, stall_timeout_s: float | None) -> tuple[StopReason, float]:
    """The deadline that comes first, and the seconds until it must be checked: for ever if there is none."""
    now_s = time.monotonic()
    timeout_s = attempt.job.timeout_s
    run_left_s = math.inf if timeout_s is None else started_s + timeout_s - now_s
    stall_left_s = math.inf if stall_timeout_s is None else attempt.last_sign_s + stall_timeout_s - now_s
    reason = StopReason.TIMEOUT if run_left_s <= stall_left_s else StopReason.STALLED
    # `last_sign_s` of a process that has not begun lies ahead. Once it has begun, the deadline is sooner.
    left_s = min(run_left_s, stall_left_s, math.inf if stall_timeout_s is None else stall_timeout_s)
    return reason, left_s
