"""Publishing what running attempts report: progress and log lines, gathered over all of them.

Nothing looks for reports: an attempt rings when it has something new. What it reports after a quiet tick is published
at once; an attempt that reports more often than once a tick is published at that rate.
"""

import asyncio
import heapq
import itertools
import math
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import TypeVarTuple

from ..authoring.reporting import nobody_listens
from ..clock import steady_s, utc_now
from ..errors import HeadwayError
from ..ports.jobs import Attempts, LogBatch, Tick
from .attempt import Attempt

BATCH = 1_000
"""Progress of this many jobs is published before others have their turn, the fan-out first: it takes them in one go, so
that no watcher's job is published twice before it has been sent once. It is not fewer, because the handlers of jobs
that wait for their turn go on: on a busy machine, with a hundred, they reported again before the last was published.
"""
BATCH_EVERY_S = 0.005
"""The pause after a batch, in which others gather: for a thousand jobs that report all the time."""

Noted = TypeVarTuple("Noted")


class Publisher:
    """Two loops over the attempts that have rung. Their turns return the seconds until the next one."""

    def __init__(self, store: Attempts, running: Mapping[str, Attempt], tick_s: float) -> None:
        self._store = store
        self._running = running
        self._tick_s = tick_s
        self._count = itertools.count()
        self._rung: deque[Attempt] = deque()
        """The attempts that have just reported, which may or may not be due."""
        self._waiting: list[tuple[float, int, Attempt]] = []
        """A heap of the attempts whose progress was too early, by the time when it may be published."""
        self._reported = asyncio.Event()
        self._logged = asyncio.Event()
        self._flush_s = math.inf
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        """That of the event loop."""

    def listen_to(self, attempt: Attempt) -> None:
        """Publish what this attempt reports from now on. To be called in the event loop."""
        if self._loop is None:
            self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
        attempt.reported.ring = partial(self._in_loop, self._has_reported, attempt)
        attempt.logs.ring = partial(self._in_loop, self._logged.set)

    def forget(self, attempt: Attempt) -> None:
        """The attempt has ended. Without its bells it no longer refers to itself, so nothing of it is left behind for
        the garbage collector, which took a sixth of a short job's time.
        """
        attempt.reported.ring = attempt.logs.ring = nobody_listens

    async def publish_progress(self) -> float:
        """Wait until progress may be published, then publish all that may be."""
        if not await self._is_due():
            return 0.0
        now_s = steady_s()
        # `tuple.__new__` takes half the time of `Tick(…)`: there is one for each report.
        ticks = [
            tuple.__new__(Tick, (job.id, job.attempt, progress))
            for attempt in self._take_due(now_s)
            if self._running.get((job := attempt.job).id) is attempt
            and (progress := attempt.read_progress(self._tick_s, now_s)) is not None
        ]
        if ticks:
            await self._store.tick(ticks, utc_now())
        left_s = await self._store.flush()
        self._flush_s = math.inf if left_s is None else now_s + left_s
        return 0.0 if self._rung else min(BATCH_EVERY_S, self._tick_s)

    def _take_due(self, now_s: float) -> list[Attempt]:
        """The attempts whose progress may be published now: `BATCH` at most, those that have waited first."""
        due: list[Attempt] = []
        while self._waiting and self._waiting[0][0] <= now_s and len(due) < BATCH:
            due.append(heapq.heappop(self._waiting)[2])
        while self._rung and len(due) < BATCH:
            attempt = self._rung.popleft()
            if attempt.due_s <= now_s:
                due.append(attempt)
            else:
                heapq.heappush(self._waiting, (attempt.due_s, next(self._count), attempt))
        return due

    async def publish_logs(self) -> float:
        """Wait for log lines and record them. If they cannot be stored, the attempts keep them for the next turn."""
        await self._logged.wait()
        self._logged.clear()
        taken = [(attempt, lines) for attempt in self._running.values() if (lines := attempt.take_lines())]
        if taken:
            try:
                await self._store.append_logs(
                    [LogBatch(attempt.job.id, attempt.job.attempt, lines) for attempt, lines in taken]
                )
            except HeadwayError:
                for attempt, lines in taken:
                    attempt.logs.put_back(lines)
                self._logged.set()
                raise
        return self._tick_s

    async def _is_due(self) -> bool:
        """Whether there is progress to publish or to write; otherwise an attempt may have rung meanwhile."""
        self._reported.clear()
        left_s = self._next_s() - steady_s()
        if left_s > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(None if left_s == math.inf else left_s):
                    await self._reported.wait()
        return self._next_s() <= steady_s()

    def _next_s(self) -> float:
        if self._rung:
            return 0.0
        return min(self._waiting[0][0] if self._waiting else math.inf, self._flush_s)

    def _has_reported(self, attempt: Attempt) -> None:
        self._rung.append(attempt)
        self._reported.set()

    def _in_loop(self, note: Callable[[*Noted], None], *noted: *Noted) -> None:
        """Note it now, or, if the handler reports from a thread of its own, in the event loop."""
        if threading.get_ident() == self._thread:
            note(*noted)
        elif self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed, and the thread was left behind
                self._loop.call_soon_threadsafe(note, *noted)
