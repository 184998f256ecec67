"""Publishing what running attempts report: progress and log lines, gathered over all of them."""

from collections.abc import Mapping

from ..clock import utc_now
from ..errors import HeadwayError
from ..ports.jobs import Attempts, LogBatch, Tick
from .attempt import Attempt

CHECKS_PER_TICK = 5
"""How often reports are checked per tick: each job is published once a tick, but not all at the same moment."""


class Publisher:
    """Two loops over the running attempts. Their turns return the seconds until the next one."""

    def __init__(self, store: Attempts, running: Mapping[str, Attempt], tick_s: float) -> None:
        self._store = store
        self._running = running
        self._tick_s = tick_s

    async def publish_progress(self) -> float:
        """Publish new progress, of each attempt once a tick at most."""
        ticks = [
            Tick(attempt.job.id, attempt.job.attempt, progress)
            for attempt in self._running.values()
            if attempt.reported.changed and (progress := attempt.read_progress(self._tick_s)) is not None
        ]
        if ticks:
            await self._store.tick(ticks, utc_now())
        await self._store.flush()
        return self._tick_s / CHECKS_PER_TICK if self._running else self._tick_s

    async def publish_logs(self) -> float:
        """Record new log lines. If they cannot be stored, the attempts keep them for the next turn."""
        taken = [(attempt, lines) for attempt in self._running.values() if (lines := attempt.take_lines())]
        if taken:
            try:
                await self._store.append_logs(
                    [LogBatch(attempt.job.id, attempt.job.attempt, lines) for attempt, lines in taken]
                )
            except HeadwayError:
                for attempt, lines in taken:
                    attempt.logs.put_back(lines)
                raise
        return self._tick_s
