"""An audience: the streams of many jobs that have one owner and one filter, and share their frames."""

from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from ...domain.filters import JobFilter
from .fan_out import Outlet
from .response import Frame

JOBS_REMEMBERED = 10_000
MOST_MISSED = 10_000


class Event(NamedTuple):
    """An event about a job. `stays`: it still matches the filter. A deleted job has the version `NEVER`."""

    job_id: str
    version: int
    text: bytes
    stays: bool


class Member:
    """One stream of many jobs, and the versions it was sent where they differ from its audience's."""

    __slots__ = ("cut", "held", "level", "missed", "outlet", "since", "snapshot")

    def __init__(self, outlet: Outlet, cut: Callable[[], None]) -> None:
        self.outlet = outlet
        self.cut = cut
        self.level = False
        self.held: dict[str, int] | None = None
        """The versions that its own task has sent; `None` before the snapshot."""
        self.missed: dict[str, int | None] = {}
        """The jobs that changed while it was not level, and the versions that its audience had before."""
        self.since = 0
        self.snapshot: bytes | None = None
        """The events that it begins with, once they have been put together; empty once it has sent them."""

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
        return self.size == 0

    @property
    def size(self) -> int:
        """How many streams it has."""
        return len(self._level) + len(self._fresh) + len(self._behind)

    def await_snapshot(self) -> list[Member]:
        """The members that have entered and have not been given a snapshot."""
        return [member for member in self._behind.values() if member.snapshot is None]

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

    def settle(self, round: int) -> bool:
        """At the end of a round, members that joined before it began become level. Whether all are."""
        for outlet, member in list(self._fresh.items()):
            if member.since < round:
                for job_id, version in (member.held or {}).items():
                    if self._sent.get(job_id) == 0:
                        self._sent[job_id] = version  # it has not changed: all who have the job have this version
                member.held = {}
                self._level[outlet] = self._fresh.pop(outlet)
        return not self._fresh

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
