"""Positions in the queue: read for the first thousand jobs at most once a second, estimated for later ones."""

import asyncio
import heapq
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

from ...domain.jobs import Job, Status
from .census import Census

READ_EVERY_S = 1.0
MAX_POSITION = 1_000

DueJob = tuple[int, int, str]
"""Priority, milliseconds of `run_at`, and id of a queued job."""

ReadDue = Callable[[str, datetime, int], Awaitable[Sequence[DueJob]]]
"""Reads the first due jobs of one type in the order of claims, given the type, the time and how many at most."""


class QueuePositions:
    """A job's position among all that are due, from 1."""

    def __init__(self, read_due: ReadDue, census: Census) -> None:
        self._read_due = read_due
        self._census = census
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
        # A job queued since then is behind all the others. At least 1: `job` may have been claimed meanwhile.
        last = max(1, self._census.queued)
        return self._positions.get(job.id, last if last <= MAX_POSITION else None)

    def _outdated(self) -> bool:
        return time.monotonic() - self._read_at_s >= READ_EVERY_S

    async def _read(self, now: datetime) -> dict[str, int]:
        due = [await self._read_due(job_type, now, MAX_POSITION) for job_type in self._census.queued_types()]
        merged = heapq.merge(*due, key=_claim_order)
        return {job_id: place for place, (_, _, job_id) in zip(range(1, MAX_POSITION + 1), merged, strict=False)}


def _claim_order(job: DueJob) -> tuple[int, int, str]:
    """The highest priority first, then the longest due."""
    priority, run_at_ms, job_id = job
    return -priority, run_at_ms, job_id
