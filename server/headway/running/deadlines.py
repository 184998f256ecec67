"""The deadlines of a running attempt: its time limit, and how long it may show no sign of progress."""

import asyncio
import math
from typing import Any

from ..clock import steady_s
from .attempt import Attempt, StopReason


async def until_stopped(
    attempt: Attempt, task: asyncio.Task[Any], *, stall_timeout_s: float | None, grace_s: float
) -> None:
    """Wait until the handler's task ends, a deadline passes, or the attempt is asked to stop.

    When a deadline passes, the attempt is asked to stop within `grace_s` seconds.
    """
    deadlines = Deadlines(attempt, stall_timeout_s=stall_timeout_s, grace_s=grace_s)
    task.add_done_callback(attempt.settle)
    if attempt.job.timeout_s is None and stall_timeout_s is None:
        await attempt.settled  # most jobs have no deadline: `wait` takes several times as long
        return
    while not task.done() and attempt.stop_reason is None:
        left_s = deadlines.check()
        if left_s > 0:
            await asyncio.wait({attempt.settled}, timeout=left_s)


class Deadlines:
    """The deadlines of an attempt that begins now."""

    def __init__(self, attempt: Attempt, *, stall_timeout_s: float | None, grace_s: float) -> None:
        self._attempt = attempt
        self._stall_timeout_s = stall_timeout_s
        self._grace_s = grace_s
        self._started_s = steady_s()

    def check(self) -> float:
        """Ask the attempt to stop if a deadline has passed. The seconds until it must be checked again, 0 or less then:
        for ever if there is none.
        """
        reason, left_s = self._next()
        if left_s <= 0:
            self._attempt.stop(reason, self._grace_s)
        return left_s

    def _next(self) -> tuple[StopReason, float]:
        """The deadline that comes first, and the seconds until it must be checked."""
        now_s, stall_timeout_s = steady_s(), self._stall_timeout_s
        timeout_s = self._attempt.job.timeout_s
        run_left_s = math.inf if timeout_s is None else self._started_s + timeout_s - now_s
        stall_left_s = math.inf if stall_timeout_s is None else self._attempt.last_sign_s + stall_timeout_s - now_s
        reason = StopReason.TIMEOUT if run_left_s <= stall_left_s else StopReason.STALLED
        # `last_sign_s` of a process that has not begun lies ahead. Once it has begun, the deadline is sooner.
        left_s = min(run_left_s, stall_left_s, math.inf if stall_timeout_s is None else stall_timeout_s)
        return reason, left_s
