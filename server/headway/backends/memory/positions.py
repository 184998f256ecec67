"""Places in the queue: looked up for the first thousand at most once a second, estimated for those that came since."""

import asyncio
import heapq
import time
from datetime import datetime

from ...domain.instants import to_ms
from ...domain.jobs import Job, Status
from ..sqlite.readers import Readers
from ..sqlite.rows import Row
from ..sqlite.statements import SQL
from .census import Census

LOOK_EVERY_S = 1.0
PLACES = 1_000


class QueuePositions:
    """A job's place among all that are due, from 1."""

    def __init__(self, readers: Readers, census: Census) -> None:
        self._readers = readers
        self._census = census
        self._places: dict[str, int] = {}
        self._looked_s = -LOOK_EVERY_S
        self._looking = asyncio.Lock()

    async def of(self, job: Job, now: datetime) -> int | None:
        """`None` for a job that does not wait, is not due yet, or stands too far behind."""
        if job.status is not Status.QUEUED or job.run_at > now:
            return None
        if self._outdated():
            async with self._looking:
                if self._outdated():
                    self._places = await self._read(now)
                    self._looked_s = time.monotonic()
        # A job that came since the last look stands behind all that wait now.
        last = max(1, self._census.queued)  # 1 at least: `job` may have been claimed since the caller looked
        return self._places.get(job.id, last if last <= PLACES else None)

    def _outdated(self) -> bool:
        return time.monotonic() - self._looked_s >= LOOK_EVERY_S

    async def _read(self, now: datetime) -> dict[str, int]:
        where = {"now": to_ms(now), "limit": PLACES}
        types = self._census.queued_types()
        first = [await self._readers.all(SQL["queued_first"], {**where, "type": name}) for name in types]
        merged = heapq.merge(*first, key=_order)
        return {row[2]: place for place, row in zip(range(1, PLACES + 1), merged, strict=False)}


def _order(row: Row) -> tuple[int, int, str]:
    """Of claims: the highest priority first, then who is due first."""
    priority, run_at, job_id = row
    return -priority, run_at, job_id
