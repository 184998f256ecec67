"""The fan-out of the streams of many jobs: those with the same owner and filter get the same frame at each tick."""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Sequence

import structlog

from ...clock import utc_now
from ...domain.access import EVERY_OWNER
from ...domain.filters import JobFilter
from ...domain.jobs import Job
from ...errors import HeadwayError, JobNotFoundError
from ...loops import Loop, Loops
from ...ports.events import Bell, EventHub, Listener
from ...ports.jobs import Reader
from ...representation import Encoder
from ...turns import PIECE
from .audience import Audience, Event, Member
from .events import gone_event, state_event
from .fan_out import NEVER
from .lookup import Lookup

LISTEN_S = 60.0

_Made = dict[tuple[str, int], bytes]
"""States as events, by job and version: an owner's audiences show much the same jobs."""

log = structlog.get_logger(__name__)


class Audiences:
    """Listens to all bells while anybody watches many jobs, and publishes to each audience once per tick."""

    def __init__(self, store: Reader, hub: EventHub, encoder: Encoder, tick_s: float) -> None:
        self._store = store
        self._hub = hub
        self._encoder = encoder
        self._tick_s = tick_s
        self._lookup = Lookup()
        self._joined: set[Audience] = set()
        """Those with members that have joined and are not level yet."""
        self._listener: Listener | None = None
        self._wanted = asyncio.Event()
        self._round = 0
        self._loop: Loop | None = None

    def start(self, loops: Loops) -> None:
        self._loop = loops.start("audiences", self._turn, until=lambda: self._hub.closed)

    async def stop(self) -> None:
        if self._loop is not None:
            await self._loop.stop()

    def enter(self, owner: str, filter: JobFilter, member: Member) -> Audience:
        """The audience for the owner and filter, with the member in it. The caller must `leave` it.

        Raises `TooManyStreamsError` if the owner has too many different filters.
        """
        audience = self._lookup.get_or_add(owner, filter)
        if self._listener is None:
            self._listener = self._hub.listen(Bell.CHANGED)
            self._wanted.set()
        audience.enter(member)
        return audience

    def leave(self, audience: Audience, member: Member) -> None:
        audience.leave(member)
        if audience.empty:
            self._lookup.remove(audience)
            self._joined.discard(audience)

    def join(self, audience: Audience, member: Member) -> None:
        audience.join(member, self._round)
        self._joined.add(audience)

    async def event(self, audience: Audience, job_id: str, held: int | None, made: _Made | None = None) -> Event | None:
        """The event about a job for members with this version of it; `None` if there is nothing new for them.

        `made`: what has been made for other audiences at this moment.
        """
        job = await self._current(audience.owner, job_id)
        if job is None:
            return self._departed(audience, job_id, held)
        matches = audience.filter.matches(job)
        if (held is None and not matches) or (held is not None and job.version <= held):
            return None
        text = None if made is None else made.get((job_id, job.version))
        if text is None:
            text = state_event(self._encoder.job(job, await self._store.queue_position(job, utc_now())))
            if made is not None:
                made[job_id, job.version] = text
        return Event(job_id, job.version, text, matches)

    async def _current(self, owner: str, job_id: str) -> Job | None:
        """The job, `None` if it was deleted; a read from disk only if memory does not know."""
        job = self._store.held(owner, job_id)
        if job is not None or self._store.departed(owner, job_id) is not None:
            return job
        try:
            return await self._store.get(owner, job_id)
        except JobNotFoundError:
            return None

    def _departed(self, audience: Audience, job_id: str, held: int | None) -> Event | None:
        """A deleted job: its last state if that was not sent, then `gone`."""
        last = self._store.departed(audience.owner, job_id)
        if held is None:
            # Not sent here, but the client may have it from a list.
            if last is None or not audience.filter.matches(last):
                return None
            return Event(job_id, NEVER, gone_event(job_id), stays=False)
        state = state_event(self._encoder.job(last, None)) if last is not None and last.version > held else b""
        return Event(job_id, NEVER, state + gone_event(job_id), stays=False)

    async def _turn(self) -> float | None:
        if self._listener is None:
            self._wanted.clear()
            await self._wanted.wait()
            return None
        rung = await self._listener.wait(LISTEN_S)
        self._round += 1
        done, made = 0, _Made()
        for audience, job_ids in (await self._concerned(rung)).items():
            await self._publish(audience, job_ids, made)
            done += len(job_ids) + audience.size
            if done >= PIECE:
                await asyncio.sleep(0)  # others' turn
                done = 0
        for audience in list(self._joined):
            if audience.settle(self._round):
                self._joined.discard(audience)
        if not self._lookup:
            self._listener.close()
            self._listener = None
        return self._tick_s

    async def _concerned(self, rung: Collection[str]) -> dict[Audience, list[str]]:
        """The changed jobs by the audiences that they may concern, each in one order."""
        found: defaultdict[Audience, list[str]] = defaultdict(list)
        for place, job_id in enumerate(sorted(rung), 1):
            job = await self._find(job_id)
            audiences = self._lookup.concerned_by_unknown(job_id) if job is None else self._lookup.concerned(job)
            for audience in audiences:
                found[audience].append(job_id)
            if place % PIECE == 0:
                await asyncio.sleep(0)
        return found

    async def _find(self, job_id: str) -> Job | None:
        """A job of any owner, to find out which streams it concerns; its last state if it was deleted a moment ago."""
        job = self._store.held(EVERY_OWNER, job_id) or self._store.departed(EVERY_OWNER, job_id)
        if job is not None:
            return job
        try:
            return await self._store.get(EVERY_OWNER, job_id)
        except HeadwayError:
            return None  # deleted, or it cannot be read: each audience does what it can

    async def _publish(self, audience: Audience, job_ids: Sequence[str], made: _Made) -> None:
        """Publish to one audience. If that fails, its members read the store themselves."""
        try:
            audience.note(job_ids)
            events: list[Event] = []
            for place, job_id in enumerate(job_ids, 1):
                event = await self.event(audience, job_id, audience.sent_version(job_id), made)
                if event is not None:
                    events.append(event)
                if place % PIECE == 0:
                    await asyncio.sleep(0)
            if events:
                audience.send(events)
        except HeadwayError as error:
            log.warning("watched jobs cannot be read", jobs=len(job_ids), reason=str(error))
            audience.scatter(job_ids)
        except Exception:
            log.exception("watched jobs could not be published", jobs=len(job_ids))
            audience.scatter(job_ids)
