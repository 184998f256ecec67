"""Positions in the queue: read for the first thousand jobs at most once a second, estimated for later ones.

There is a queue for each pool of slots, since jobs of one pool never wait for those of another.
"""

import asyncio
import heapq
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime

from ...domain.jobs import Job, Status
from .census import Census

READ_EVERY_S = 1.0
MAX_POSITION = 1_000
PLACES = range(1, MAX_POSITION + 1)

DueJob = tuple[int, int, str]
"""Priority, milliseconds of `run_at`, and id of a queued job."""

ReadDue = Callable[[str, datetime, int], Awaitable[Sequence[DueJob]]]
"""Reads the first due jobs of one type in the order of claims, given the type, the time and how many at most."""


class QueuePositions:
    """A job's position among all due jobs that share slots with it, from 1."""

    def __init__(self, read_due: ReadDue, census: Census, sharing: Sequence[Collection[str]] = ()) -> None:
        """`sharing` holds the job types that share slots, pool by pool. Those in none share with each other."""
        self._read_due = read_due
        self._census = census
        self._pool_of = {job_type: pool for pool, job_types in enumerate(sharing) for job_type in job_types}
        self._positions: dict[str, int] = {}
        self._read_at_s = -READ_EVERY_S
        self._reading = asyncio.Lock()

    async def of(self, job: Job, now: datetime) -> int | None:
        """`None` for a job that is not queued, not due yet, or beyond the first thousand."""
        if job.status is not Status.QUEUED or job.run_at > now:
            return None
        if self._outdated():
            async with self._reading:
                if self._outdated():
                    self._positions = await self._read(now)
                    self._read_at_s = time.monotonic()
        if (place := self._positions.get(job.id)) is not None:
            return place
        # A job queued since then is behind all the others. At least 1: `job` may have been claimed meanwhile.
        last = max(1, sum(map(self._census.queued_of, self._queued_by_pool()[self._pool_of.get(job.type)])))
        return last if last <= MAX_POSITION else None

    def _outdated(self) -> bool:
        return time.monotonic() - self._read_at_s >= READ_EVERY_S

    async def _read(self, now: datetime) -> dict[str, int]:
        positions: dict[str, int] = {}
        for job_types in self._queued_by_pool().values():
            due = [await self._read_due(job_type, now, MAX_POSITION) for job_type in job_types]
            merged = heapq.merge(*due, key=_claim_order)
            positions |= {job_id: place for place, (_, _, job_id) in zip(PLACES, merged, strict=False)}
        return positions

    def _queued_by_pool(self) -> defaultdict[int | None, list[str]]:
        """The types with queued jobs, by the pool that they use."""
        pools: defaultdict[int | None, list[str]] = defaultdict(list)
        for job_type in self._census.queued_types():
            pools[self._pool_of.get(job_type)].append(job_type)
        return pools


def _claim_order(job: DueJob) -> tuple[int, int, str]:
    """The highest priority first, then the longest due."""
    priority, run_at_ms, job_id = job
    return -priority, run_at_ms, job_id
