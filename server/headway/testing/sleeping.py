"""An event loop in which `asyncio.sleep` takes no time: the clock is moved instead."""

import asyncio
import heapq
from collections.abc import Callable
from contextvars import Context
from itertools import count
from selectors import DefaultSelector, SelectorKey
from typing import TypeVarTuple

from typing_extensions import override

from .clock import Clock

Taken = TypeVarTuple("Taken")

OF_SLEEP = "_set_result_unless_cancelled"
"""The callback by which `asyncio.sleep` is woken, and nothing else is."""


class SkippingLoop(asyncio.SelectorEventLoop):
    """As soon as everything in it waits and something sleeps, time moves to what comes next: a sleep's end, a deadline.

    Where nothing sleeps time is real, so a call that waits for a thread, a process or the network has its time.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__(_Selector(self._skip))
        self._clock = clock
        self._sleeps: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._numbers = count()

    @override
    def call_at(
        self,
        when: float,
        callback: Callable[[*Taken], object],
        *args: *Taken,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        timer = super().call_at(when, callback, *args, context=context)
        if getattr(callback, "__name__", "") == OF_SLEEP:
            heapq.heappush(self._sleeps, (when, next(self._numbers), timer))
        return timer

    def _skip(self, timeout_s: float | None) -> bool:
        """Move the clock, if something sleeps. `timeout_s`: until the loop's next timer."""
        now_s = self.time()
        while self._sleeps and (self._sleeps[0][2].cancelled() or self._sleeps[0][0] <= now_s):
            heapq.heappop(self._sleeps)
        if not self._sleeps:
            return False
        left_s = self._sleeps[0][0] - now_s
        self._clock.advance(left_s if timeout_s is None else min(left_s, timeout_s))
        return True


class _Selector(DefaultSelector):
    """Calls `skip` before it waits, and does not wait if that is true."""

    def __init__(self, skip: Callable[[float | None], bool]) -> None:
        super().__init__()
        self._skip = skip

    @override
    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0) or self._skip(timeout):
            return ready
        return super().select(timeout)
