"""Positions in the queue: read for an owner's first thousand jobs at most once a second, estimated for later ones.

A position counts the owner's own jobs only, since any other count would tell how much others have queued. There is a
queue for each pool of slots: jobs of one pool never wait for those of another.
"""

import asyncio
import time
from collections import OrderedDict, defaultdict
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from ...domain.jobs import Job, Status
from .census import Census

READ_EVERY_S = 1.0
JOBS_READ_PER_S = 5_000
"""The positions of an owner with more queued jobs are read less often: the database looks at all of them."""
MAX_POSITION = 1_000
OWNERS_HELD = 100

ReadDue = Callable[[str, Collection[str], datetime, int], Awaitable[Sequence[str]]]
"""Reads the ids of an owner's first due jobs of some types in the order of claims, given the time and how many at most.
"""


@dataclass(slots=True)
class _Positions:
    """The positions of one owner's jobs."""

    of: dict[str, int] = field(default_factory=dict)
    outdated_at_s: float = 0.0
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)


class QueuePositions:
    """A job's position, from 1, among its owner's due jobs that share slots with it."""

    def __init__(self, read_due: ReadDue, census: Census) -> None:
        self._read_due = read_due
        self._census = census
        self._owners: OrderedDict[str, _Positions] = OrderedDict()
        """The one that was asked for last comes last."""

    async def of(self, job: Job, now: datetime) -> int | None:
        """`None` for a job that is not queued, not due yet, or beyond the first thousand."""
        if job.status is not Status.QUEUED or job.run_at > now:
            return None
        positions = self._positions_of(job.owner)
        if time.monotonic() >= positions.outdated_at_s:
            async with positions.reading:
                if time.monotonic() >= positions.outdated_at_s:
                    positions.of = await self._read(job.owner, now)
                    pause_s = max(READ_EVERY_S, self._census.queued_of_owner(job.owner) / JOBS_READ_PER_S)
                    positions.outdated_at_s = time.monotonic() + pause_s
        if (place := positions.of.get(job.id)) is not None:
            return place
        # A job queued since then is behind all the others. At least 1: `job` may have been claimed meanwhile.
        last = self._census.queued_beside(job.owner, job.type)
        return None if last > MAX_POSITION else last or 1

    def _positions_of(self, owner: str) -> _Positions:
        positions = self._owners.get(owner)
        if positions is None:
            positions = self._owners[owner] = _Positions()
            if len(self._owners) > OWNERS_HELD:
                self._owners.popitem(last=False)
        else:
            self._owners.move_to_end(owner)
        return positions

    async def _read(self, owner: str, now: datetime) -> dict[str, int]:
        positions: dict[str, int] = {}
        for job_types in self._by_pool(self._census.queued_types_of(owner)).values():
            due = await self._read_due(owner, job_types, now, MAX_POSITION)
            positions |= {job_id: place for place, job_id in enumerate(due, 1)}
        return positions

    def _by_pool(self, queued: dict[str, int]) -> defaultdict[int | None, dict[str, int]]:
        """How many jobs of each type are queued, by the pool that they use."""
        pools: defaultdict[int | None, dict[str, int]] = defaultdict(dict)
        for job_type, jobs in queued.items():
            pools[self._census.pool_of.get(job_type)][job_type] = jobs
        return pools
