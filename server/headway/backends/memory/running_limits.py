"""Limits on how many jobs of an owner, and of a key, run at once, and which of the waiting jobs may be claimed.

A job that waits is open or parked. Claims see open jobs only. Of each type, a holder has as many open jobs as it has
free places; the others are parked, and each place that is freed opens the next. So claims of others pass over a few
jobs at most, however many are parked.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

from ...ports.actions import ACTION_TYPE
from ...quotas import Holder as Kind
from .quotas import NO_KEY

MOST_OPEN = 1_000
"""Open jobs of a holder and type, whatever its limit. If one is lifted, parked jobs are opened this many at a time."""

Holder = tuple[Kind, str]
"""An owner by name, or a key by id."""


class Group(NamedTuple):
    """Waiting jobs that count against the same limits, and use the same slots."""

    owner: str
    key_id: str
    """`NO_KEY` without one."""
    job_type: str

    @property
    def holders(self) -> tuple[Holder, ...]:
        """The owner, and the key if there is one."""
        return (("owner", self.owner),) if self.key_id == NO_KEY else (("owner", self.owner), ("key", self.key_id))


Waiting = tuple[Group, int, bool, int]
"""Waiting jobs of a group: their priority, whether they are parked, and how many they are."""


class RunningLimits:
    """Knows who may start a job, in the writer's thread. What a transaction changes is undone if it is rolled back.

    It counts the holders that have a limit and the groups that have parked jobs; for all others it costs one test.
    """

    def __init__(self, default: int | None = None) -> None:
        """`default`: the limit of every owner who has no quota of their own."""
        self._default = default
        self._own: dict[Holder, int | None] = {}
        self._running: dict[Holder, int] = {}
        self._open: dict[tuple[Holder, str], dict[Group, dict[int, int]]] = {}
        """By priority; the counts of a group are the same object under each of its holders."""
        self._parked: dict[Holder, dict[Group, int]] = {}
        self._unsettled: dict[Holder, None] = {}
        self._undo: list[Callable[[], object]] = []
        self.opened = False
        """Whether jobs were opened since this was last set to False."""
        self.in_force = default is not None
        """Whether anybody has a limit, or parked jobs. If not, nothing is counted."""

    # Limits

    def set(self, holder: Holder, limit: int | None) -> None:
        """Set the limit of a holder's own quota. What it runs and has waiting must be counted next: `load`."""
        self._set(self._own, holder, limit)
        self._review()

    def unset(self, holder: Holder) -> None:
        """The holder has no quota of its own any more. What it runs and has waiting must be counted next: `load`."""
        self._drop(self._own, holder)
        self._review()

    def limit(self, holder: Holder) -> int | None:
        """How many jobs of the holder may run at once; `None`: any number."""
        return self._own.get(holder, self._default if holder[0] == "owner" else None)

    def free(self, holder: Holder) -> int:
        """How many more of its jobs may start, `MOST_OPEN` at most; less than 0 if its limit was lowered."""
        limit = self.limit(holder)
        return MOST_OPEN if limit is None else min(limit - self._running.get(holder, 0), MOST_OPEN)

    def load(self, running: Iterable[tuple[Holder, int]], waiting: Iterable[Waiting]) -> None:
        """Count what the record holds of some holders: all their waiting jobs, and those that run."""
        for holder, jobs in running:
            self._set(self._running, holder, jobs)
            for (whose, _), groups in list(self._open.items()):
                if whose == holder:
                    for group in list(groups):
                        self._forget_open(group)
            for group in list(self._parked.get(holder, ())):
                self._forget_parked(group)
        for group, priority, parked, jobs in waiting:
            if parked:
                self._park(group, jobs)
            else:
                self._count_open(group, priority, jobs)
        for holder, _ in running:
            self.unsettle(holder)
        self._review()

    # Waiting jobs

    def enter(self, group: Group, priority: int) -> bool:
        """A job falls due. Returns whether it is open; otherwise it is parked. Actions are never held up."""
        if group.job_type == ACTION_TYPE or not self._is_limited(group):
            return True
        overtakes = any(holder in self._unsettled for holder in group.holders)
        if not overtakes and self._has_room(group, priority):
            self._count_open(group, priority, 1)
            return True
        self._park(group, 1)
        return False

    def open(self, group: Group, priority: int) -> bool:
        """Open a parked job if there is room for it. Returns whether it was."""
        if not self._has_room(group, priority):
            return False
        self._count_open(group, priority, 1)
        self._unpark(group)
        self.opened = True
        return True

    def park(self, group: Group, priority: int) -> None:
        """Park an open job."""
        self._count_open(group, priority, -1)
        self._park(group, 1)

    def left(self, group: Group, priority: int, *, parked: bool) -> None:
        """A job waits no longer, and does not run either."""
        if parked:
            self._unpark(group)
        elif self._is_counted(group):
            self._count_open(group, priority, -1)
            self._unsettle_all(group)

    # Running jobs

    def start(self, group: Group, priority: int) -> bool:
        """An open job is about to be claimed. Returns whether it may, and counts it then."""
        if not self._is_counted(group):
            return True
        limited = [holder for holder in group.holders if self.limit(holder) is not None]
        if any(self.free(holder) <= 0 for holder in limited):
            return False
        for holder in limited:
            self._set(self._running, holder, self._running.get(holder, 0) + 1)
        self._count_open(group, priority, -1)
        self._unsettle_all(group)
        return True

    def ended(self, owner: str, key_id: str) -> None:
        """A job runs no longer."""
        for holder in Group(owner, key_id, "").holders:
            if running := self._running.get(holder, 0):
                if running == 1:
                    self._drop(self._running, holder)
                else:
                    self._set(self._running, holder, running - 1)
                self.unsettle(holder)

    # Settling

    def unsettle(self, holder: Holder) -> None:
        """There may be room for parked jobs of the holder."""
        if holder in self._parked:
            self._unsettled[holder] = None

    @property
    def unsettled(self) -> bool:
        """Whether there may be room for parked jobs."""
        return bool(self._unsettled)

    def settling(self) -> Iterator[tuple[Holder, list[Group]]]:
        """The holders with room, and the groups of each type that they have parked jobs in. Asked for once each."""
        while self._unsettled:
            holder = next(iter(self._unsettled))
            del self._unsettled[holder]
            if self.free(holder) <= 0:
                continue
            by_type: dict[str, list[Group]] = {}
            for group in self._parked.get(holder, ()):
                by_type.setdefault(group.job_type, []).append(group)
            for groups in by_type.values():
                yield holder, groups

    def excess(self, holder: Holder) -> dict[str, int]:
        """How many more jobs of each type are open than the holder has free places, for those that have too many."""
        if self.limit(holder) is None:
            return {}
        room = max(0, self.free(holder))
        counts = {
            job_type: sum(sum(by_priority.values()) for by_priority in groups.values())
            for (whose, job_type), groups in self._open.items()
            if whose == holder
        }
        return {job_type: jobs - room for job_type, jobs in counts.items() if jobs > room}

    def holders(self) -> list[Holder]:
        """Those who have a limit and open jobs."""
        return list(dict.fromkeys(holder for holder, _ in self._open if self.limit(holder) is not None))

    # Transactions

    def committed(self) -> None:
        """The transaction is on disk."""
        self._undo.clear()

    def rolled_back(self) -> None:
        """The transaction changed nothing."""
        while self._undo:
            self._undo.pop()()
        self._unsettled |= dict.fromkeys(self._parked)
        self._review()

    # Counts

    def _is_limited(self, group: Group) -> bool:
        """Whether its jobs have to wait for a limit, or behind jobs that had to."""
        return any(self.limit(holder) is not None or group in self._parked.get(holder, ()) for holder in group.holders)

    def _is_counted(self, group: Group) -> bool:
        return group in self._open.get((("owner", group.owner), group.job_type), ())

    def _has_room(self, group: Group, priority: int) -> bool:
        """Whether one more job of the priority may be open: jobs below it do not keep it out."""
        return all(self._startable(holder, group.job_type, priority) < self.free(holder) for holder in group.holders)

    def _startable(self, holder: Holder, job_type: str, priority: int) -> int:
        """The holder's open jobs of a type that only its own limit may hold up, of this priority or a higher one."""
        startable = 0
        for group, by_priority in self._open.get((holder, job_type), {}).items():
            jobs = sum(jobs for each, jobs in by_priority.items() if each >= priority)
            others = [self.free(other) for other in group.holders if other != holder]
            startable += max(0, min([jobs, *others]))
        return startable

    def _count_open(self, group: Group, priority: int, more: int) -> None:
        holders = group.holders
        by_priority = self._open.get((holders[0], group.job_type), {}).get(group)
        if by_priority is None:
            by_priority = {}
            for holder in holders:
                self._set(self._open.setdefault((holder, group.job_type), {}), group, by_priority)
        jobs = by_priority.get(priority, 0) + more
        if jobs > 0:
            self._set(by_priority, priority, jobs)
            return
        self._drop(by_priority, priority)
        if not by_priority:
            self._forget_open(group)

    def _forget_open(self, group: Group) -> None:
        for holder in group.holders:
            self._drop_in(self._open, (holder, group.job_type), group)

    def _park(self, group: Group, jobs: int) -> None:
        for holder in group.holders:
            parked = self._parked.setdefault(holder, {})
            self._set(parked, group, parked.get(group, 0) + jobs)
        self.in_force = True

    def _unpark(self, group: Group) -> None:
        for holder in group.holders:
            jobs = self._parked.get(holder, {}).get(group, 0)
            if jobs > 1:
                self._set(self._parked[holder], group, jobs - 1)
            elif jobs:
                self._drop_in(self._parked, holder, group)
        if not self._parked:
            self._review()

    def _forget_parked(self, group: Group) -> None:
        for holder in group.holders:
            self._drop_in(self._parked, holder, group)

    def _review(self) -> None:
        limits = (self._default, *self._own.values())
        self.in_force = bool(self._parked) or any(limit is not None for limit in limits)

    def _unsettle_all(self, group: Group) -> None:
        for holder in group.holders:
            self.unsettle(holder)

    # What can be undone

    def _set(self, of: dict[Any, Any], key: object, value: object) -> None:
        self._undo.append(partial(of.__setitem__, key, of[key]) if key in of else partial(of.pop, key, None))
        of[key] = value

    def _drop(self, of: dict[Any, Any], key: object) -> None:
        if key in of:
            self._undo.append(partial(of.__setitem__, key, of.pop(key)))

    def _drop_in(self, of: dict[Any, dict[Any, Any]], key: object, inner: object) -> None:
        """Drop an entry of an inner dictionary, and the dictionary with its last entry."""
        entries = of.get(key, {})
        self._drop(entries, inner)
        if not entries:
            self._drop(of, key)
