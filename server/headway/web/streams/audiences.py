"""The fan-out of the streams of many jobs: those with one filter are told the same, in one frame for each tick."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import structlog

from ...clock import utc_now
from ...domain.filters import JobFilter
from ...errors import HeadwayError, JobNotFoundError
from ...loops import Loop, Loops
from ...ports.events import Bell, EventHub, Listener
from ...ports.jobs import Reader
from ...representation import Encoder
from .events import gone_event, state_event
from .fan_out import NEVER, Outlet
from .response import Frame

LISTEN_S = 60.0
JOBS_REMEMBERED = 10_000
MOST_MISSED = 10_000

log = structlog.get_logger(__name__)


class Event(NamedTuple):
    """What is said about a job. `stays`: it still matches the filter. One that is gone has the version `NEVER`."""

    job_id: str
    version: int
    text: bytes
    stays: bool


class Member:
    """One stream of many jobs, and what it knows while that is not just what its audience was told."""

    __slots__ = ("cut", "held", "level", "missed", "outlet", "since")

    def __init__(self, outlet: Outlet, cut: Callable[[], None]) -> None:
        self.outlet = outlet
        self.cut = cut
        self.level = False
        self.held: dict[str, int] | None = None
        """The versions that its own task sent it; `None` before its snapshot."""
        self.missed: dict[str, int | None] = {}
        """The jobs that rang while it was not level, and the versions that were told before."""
        self.since = 0

    def holds(self, job_id: str, told: int | None) -> int | None:
        """The version of a job that it was sent; `told` is what its audience was."""
        return told if self.held is None else self.held.get(job_id, told)

    def sent(self, event: Event) -> None:
        """Its own task says this."""
        assert self.held is not None  # noqa: S101 - the snapshot comes first
        self.held[event.job_id] = event.version
        if not event.stays:
            del self.held[event.job_id]


class Audience:
    """The streams of one owner with one filter, and what those that are level were told. Each method is one step."""

    def __init__(self, owner: str, filter: JobFilter) -> None:
        self.owner = owner
        self.filter = filter
        self._told: OrderedDict[str, int] = OrderedDict()
        self._level: dict[Outlet, Member] = {}
        self._fresh: dict[Outlet, Member] = {}
        self._behind: dict[Outlet, Member] = {}

    @property
    def empty(self) -> bool:
        return not (self._level or self._fresh or self._behind)

    def enter(self, member: Member) -> None:
        """From now on the member misses nothing: what rings is noted for it until it joins."""
        self._behind[member.outlet] = member

    def leave(self, member: Member) -> None:
        for members in (self._level, self._fresh, self._behind):
            members.pop(member.outlet, None)

    def join(self, member: Member, round: int) -> None:
        """Serve a member that has missed nothing together with the others, from the `round` after this on.

        Bells that rang before may still bring what it was sent already, so what it holds counts for a round more.
        """
        for job_id in member.held or ():
            self._tell(job_id, self._told.get(job_id, 0))
        del self._behind[member.outlet]
        self._fresh[member.outlet] = member
        member.level, member.since = True, round

    def told(self, job_id: str) -> int | None:
        """The newest version of a job that was said, 0 if somebody holds an older one; `None` if nobody does."""
        return self._told.get(job_id)

    def note(self, rung: Collection[str]) -> None:
        """These jobs rang: those who are not level look at them when they can."""
        for member in self._behind.values():
            for job_id in rung:
                if member.held is None or job_id in member.held or job_id in self._told:
                    member.missed.setdefault(job_id, self._told.get(job_id))
            if len(member.missed) > MOST_MISSED:
                member.cut()  # it begins afresh when it comes back

    def say(self, events: Sequence[Event]) -> None:
        """Hand everybody what is new, the level ones one and the same frame."""
        for member in self._behind.values():
            for event in events:
                member.missed.setdefault(event.job_id, self._told.get(event.job_id))
        frame = Frame(b"".join(event.text for event in events))
        late = [member for outlet, member in self._level.items() if not outlet.offer(frame)]
        for outlet, member in self._fresh.items():
            text = b"".join(event.text for event in events if event.version > (member.holds(event.job_id, 0) or 0))
            if text and not outlet.offer(Frame(text)):
                late.append(member)
        for member in late:
            self._leave_behind(member, [event.job_id for event in events])
        for event in events:
            self._tell(event.job_id, event.version)
            if not event.stays:
                del self._told[event.job_id]

    def settle(self, round: int) -> None:
        """At the end of a round: whoever joined before it began is level now."""
        for outlet, member in list(self._fresh.items()):
            if member.since < round:
                for job_id, version in (member.held or {}).items():
                    if self._told.get(job_id) == 0:
                        self._told[job_id] = version  # nothing rang: everybody who holds the job holds this one
                member.held = {}
                self._level[outlet] = self._fresh.pop(outlet)

    def scatter(self, rung: Collection[str]) -> None:
        """Leave everybody to their own tasks: these jobs could not be read."""
        for member in [*self._level.values(), *self._fresh.values()]:
            self._leave_behind(member, rung)

    def _leave_behind(self, member: Member, rung: Collection[str]) -> None:
        self.leave(member)
        self._behind[member.outlet] = member
        member.level = False
        member.missed = {job_id: self._told.get(job_id) for job_id in rung}
        member.outlet.wake()

    def _tell(self, job_id: str, version: int) -> None:
        self._told[job_id] = version
        self._told.move_to_end(job_id)
        if len(self._told) > JOBS_REMEMBERED:
            self._told.popitem(last=False)


class Audiences:
    """Hears all bells while somebody watches many jobs, and tells each audience once for each tick."""

    def __init__(self, store: Reader, hub: EventHub, encoder: Encoder, tick_s: float) -> None:
        self._store = store
        self._hub = hub
        self._encoder = encoder
        self._tick_s = tick_s
        self._audiences: dict[tuple[str, JobFilter], Audience] = {}
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
        """The audience of the owner's jobs that match, with the member in it. `leave` it in the end."""
        if self._listener is None:
            self._listener = self._hub.listen(Bell.CHANGED)
            self._wanted.set()
        audience = self._audiences.get((owner, filter))
        if audience is None:
            audience = self._audiences[owner, filter] = Audience(owner, filter)
        audience.enter(member)
        return audience

    def leave(self, audience: Audience, member: Member) -> None:
        audience.leave(member)
        if audience.empty:
            del self._audiences[audience.owner, audience.filter]

    def join(self, audience: Audience, member: Member) -> None:
        audience.join(member, self._round)

    async def event(self, audience: Audience, job_id: str, held: int | None) -> Event | None:
        """What to say about a job to whoever holds this version of it; nothing if it is not new or not theirs."""
        try:
            job = await self._store.get(audience.owner, job_id)
        except JobNotFoundError:
            return self._departed(audience, job_id, held)
        matches = audience.filter.matches(job)
        if (held is None and not matches) or (held is not None and job.version <= held):
            return None
        position = await self._store.queue_position(job, utc_now())
        return Event(job_id, job.version, state_event(self._encoder.job(job, position)), matches)

    def _departed(self, audience: Audience, job_id: str, held: int | None) -> Event | None:
        """A job that is gone: its last state if that was not sent, then `gone`."""
        last = self._store.departed(audience.owner, job_id)
        if held is None:
            # Not sent here, but a client may hold it from elsewhere: from a list, say.
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
        audiences = list(self._audiences.values())
        seen = {owner: self._seen_by(owner, rung) for owner in {audience.owner for audience in audiences}}
        for audience in audiences:
            await self._tell(audience, seen[audience.owner])
        if not self._audiences:
            self._listener.close()
            self._listener = None
        return self._tick_s

    def _seen_by(self, owner: str, rung: frozenset[str]) -> frozenset[str]:
        """To look for others' jobs on the disk, again and again for each audience, would hold up everybody."""
        return frozenset(job_id for job_id in rung if not self._store.known_foreign(owner, job_id))

    async def _tell(self, audience: Audience, rung: frozenset[str]) -> None:
        """One audience's part of a round. If that fails, everybody there looks for himself."""
        theirs = rung & audience.filter.ids if audience.filter.ids else rung
        try:
            if theirs:
                audience.note(theirs)
                found = [await self.event(audience, job_id, audience.told(job_id)) for job_id in sorted(theirs)]
                events = [event for event in found if event is not None]
                if events:
                    audience.say(events)
            audience.settle(self._round)
        except HeadwayError as error:
            log.warning("watched jobs cannot be read", jobs=len(theirs), reason=str(error))
            audience.scatter(theirs)
        except Exception:
            log.exception("watched jobs could not be told of", jobs=len(theirs))
            audience.scatter(theirs)
