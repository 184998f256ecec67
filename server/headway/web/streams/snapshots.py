"""The snapshot that a stream of many jobs begins with, made once for all that wait for the same one."""

import asyncio
from datetime import timedelta

from ...clock import utc_now
from ...ports.jobs import Reader
from ...representation import Encoder
from ...turns import PIECE, Turns
from .audience import Audience, Member
from .events import ready_event, state_event

MANY_SNAPSHOT = 200
PAUSE_S = 0.005
"""Between two snapshots of one owner, shared ones too: an owner who opens streams all the time opens 200 a second, and
leaves the rest of the event loop to others.
"""
MANY_ENDED_WITHIN = timedelta(seconds=60)


class ManySnapshots:
    """Snapshots, one at a time for each owner, in pieces between which others have their turn."""

    def __init__(self, store: Reader, encoder: Encoder, turns: Turns) -> None:
        self._store = store
        self._encoder = encoder
        self._turns = turns

    async def of(self, audience: Audience, member: Member) -> bytes:
        """The events of the snapshot. The member holds its versions from the moment at which it was read.

        While it waits for its owner's turn, another member of its audience may make it. Raises `StoreUnavailableError`.
        """
        async with self._turns.of(audience.owner):
            if member.snapshot is None:
                await self._make(audience)
            if self._turns.awaited(audience.owner):
                await asyncio.sleep(PAUSE_S)
        snapshot, member.snapshot = member.snapshot or b"", b""
        return snapshot

    async def _make(self, audience: Audience) -> None:
        """Make it for all members that have entered: what changes from now on is noted for them."""
        waiting = audience.await_snapshot()
        now = utc_now()
        jobs = await self._store.active(audience.owner, audience.filter, MANY_SNAPSHOT, now - MANY_ENDED_WITHIN)
        for member in waiting:
            member.held = {job.id: job.version for job in jobs}
        events = []
        for place, job in enumerate(jobs, 1):
            events.append(state_event(self._encoder.job(job, await self._store.queue_position(job, now))))
            if place % PIECE == 0:
                await asyncio.sleep(0)  # others' turn
        events.append(ready_event(len(jobs)))
        text = b"".join(events)
        for member in waiting:
            member.snapshot = text
