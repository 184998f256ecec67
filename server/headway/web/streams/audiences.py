"""The fan-out of the streams of many jobs: those with the same owner and filter get the same frame at each tick."""

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
    """An event about a job. `stays`: it still matches the filter. A deleted job has the version `NEVER`."""

    job_id: str
    version: int
    text: bytes
    stays: bool


class Member:
    """One stream of many jobs, and the versions it was sent where they differ from its audience's."""

    __slots__ = ("cut", "held", "level", "missed", "outlet", "since")

    def __init__(self, outlet: Outlet, cut: Callable[[], None]) -> None:
        self.outlet = outlet
        self.cut = cut
        self.level = False
        self.held: dict[str, int] | None = None
        """The versions that its own task has sent; `None` before the snapshot."""
        self.missed: dict[str, int | None] = {}
        """The jobs that changed while it was not level, and the versions that its audience had before."""
        self.since = 0

    def holds(self, job_id: str, told: int | None) -> int | None:
        """The version of a job that it was sent; `told` is the audience's."""
        return told if self.held is None else self.held.get(job_id, told)

    def sent(self, event: Event) -> None:
        """Its own task sends this event."""
        assert self.held is not None  # noqa: S101 - the snapshot comes first
        self.held[event.job_id] = event.version
        if not event.stays:
            del self.held[event.job_id]


class Audience:
    """The streams of one owner with one filter, and the versions that the level ones have. No method awaits."""

    def __init__(self, owner: str, filter: JobFilter) -> None:
        self.owner = owner
        self.filter = filter
        self._sent: OrderedDict[str, int] = OrderedDict()
        self._level: dict[Outlet, Member] = {}
        self._fresh: dict[Outlet, Member] = {}
        self._behind: dict[Outlet, Member] = {}

    @property
    def empty(self) -> bool:
        return not (self._level or self._fresh or self._behind)

    def enter(self, member: Member) -> None:
        """From now on the member misses nothing: changes are noted for it until it joins."""
        self._behind[member.outlet] = member

    def leave(self, member: Member) -> None:
        for members in (self._level, self._fresh, self._behind):
            members.pop(member.outlet, None)

    def join(self, member: Member, round: int) -> None:
        """Serve a member that has missed nothing together with the others, from the next `round` on.

        Earlier bells may still bring what it was sent already, so its own versions count for one more round.
        """
        for job_id in member.held or ():
            self._mark_sent(job_id, self._sent.get(job_id, 0))
        del self._behind[member.outlet]
        self._fresh[member.outlet] = member
        member.level, member.since = True, round

    def sent_version(self, job_id: str) -> int | None:
        """The latest version of a job that was sent; 0 if only some members have one, `None` if none has."""
        return self._sent.get(job_id)

    def note(self, rung: Collection[str]) -> None:
        """Note these changed jobs for the members that are behind."""
        for member in self._behind.values():
            for job_id in rung:
                if member.held is None or job_id in member.held or job_id in self._sent:
                    member.missed.setdefault(job_id, self._sent.get(job_id))
            if len(member.missed) > MOST_MISSED:
                member.cut()  # it starts afresh when it reconnects

    def send(self, events: Sequence[Event]) -> None:
        """Send new events to everybody; the level members share one frame."""
        for member in self._behind.values():
            for event in events:
                member.missed.setdefault(event.job_id, self._sent.get(event.job_id))
        frame = Frame(b"".join(event.text for event in events))
        late = [member for outlet, member in self._level.items() if not outlet.offer(frame)]
        for outlet, member in self._fresh.items():
            text = b"".join(event.text for event in events if event.version > (member.holds(event.job_id, 0) or 0))
            if text and not outlet.offer(Frame(text)):
                late.append(member)
        for member in late:
            self._leave_behind(member, [event.job_id for event in events])
        for event in events:
            self._mark_sent(event.job_id, event.version)
            if not event.stays:
                del self._sent[event.job_id]

    def settle(self, round: int) -> None:
        """At the end of a round, members that joined before it began become level."""
        for outlet, member in list(self._fresh.items()):
            if member.since < round:
                for job_id, version in (member.held or {}).items():
                    if self._sent.get(job_id) == 0:
                        self._sent[job_id] = version  # it has not changed: all who have the job have this version
                member.held = {}
                self._level[outlet] = self._fresh.pop(outlet)

    def scatter(self, rung: Collection[str]) -> None:
        """Hand all members back to their own tasks: these jobs could not be read."""
        for member in [*self._level.values(), *self._fresh.values()]:
            self._leave_behind(member, rung)

    def _leave_behind(self, member: Member, rung: Collection[str]) -> None:
        self.leave(member)
        self._behind[member.outlet] = member
        member.level = False
        member.missed = {job_id: self._sent.get(job_id) for job_id in rung}
        member.outlet.wake()

    def _mark_sent(self, job_id: str, version: int) -> None:
        self._sent[job_id] = version
        self._sent.move_to_end(job_id)
        if len(self._sent) > JOBS_REMEMBERED:
            self._sent.popitem(last=False)


class Audiences:
    """Listens to all bells while anybody watches many jobs, and publishes to each audience once per tick."""

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
        """The audience for the owner and filter, with the member in it. The caller must `leave` it."""
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
        """The event about a job for members with this version of it; `None` if there is nothing new for them."""
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
        audiences = list(self._audiences.values())
        seen = {owner: self._seen_by(owner, rung) for owner in {audience.owner for audience in audiences}}
        for audience in audiences:
            await self._publish(audience, seen[audience.owner])
        if not self._audiences:
            self._listener.close()
            self._listener = None
        return self._tick_s

    def _seen_by(self, owner: str, rung: frozenset[str]) -> frozenset[str]:
        """Skip other owners' jobs: reading them from disk for each audience would delay everybody."""
        return frozenset(job_id for job_id in rung if not self._store.known_foreign(owner, job_id))

    async def _publish(self, audience: Audience, rung: frozenset[str]) -> None:
        """Publish to one audience. If that fails, its members read the store themselves."""
        theirs = rung & audience.filter.ids if audience.filter.ids else rung
        try:
            if theirs:
                audience.note(theirs)
                found = [await self.event(audience, job_id, audience.sent_version(job_id)) for job_id in sorted(theirs)]
                events = [event for event in found if event is not None]
                if events:
                    audience.send(events)
            audience.settle(self._round)
        except HeadwayError as error:
            log.warning("watched jobs cannot be read", jobs=len(theirs), reason=str(error))
            audience.scatter(theirs)
        except Exception:
            log.exception("watched jobs could not be published", jobs=len(theirs))
            audience.scatter(theirs)
