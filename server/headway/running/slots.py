"""The slots that jobs run in: some for tasks in the event loop, others for processes. Neither kind waits for the other.

A task that waits for the network costs next to nothing, so there are many slots for them; a process takes a core.
"""

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Protocol

from ..authoring.job_types import JobType, Registry
from ..ports.actions import ACTION_TYPE
from ..ports.jobs import FreeSlots
from .limits import MAX_LEASES, RunLimits

MAX_ACTIONS = 100
"""Actions that run at once. They have slots of their own: what other jobs take up may be what they are to free."""


class Slot:
    """The slot of one attempt, taken from the start. To take a taken one or to leave a free one changes nothing."""

    def __init__(self, count: Callable[[int], None]) -> None:
        """`count` is called with 1 when it is taken, and with -1 when it is left."""
        self._count = count
        self._taken = False
        self.take()

    def take(self) -> None:
        if not self._taken:
            self._taken = True
            self._count(1)

    def leave(self) -> None:
        if self._taken:
            self._taken = False
            self._count(-1)


class Loads(Protocol):
    """Knows what is being loaded before processes are forked."""

    def is_loading(self, job_type: str) -> bool:
        """Whether an attempt of this type would have to wait for a load."""
        ...

    def when_loaded(self, call: Callable[[], None]) -> None:
        """Have `call` called whenever attempts of a type no longer have to wait."""


class NoLoads:
    """Nothing is loaded (`Loads`)."""

    def is_loading(self, job_type: str) -> bool:  # noqa: ARG002 - a port
        return False

    def when_loaded(self, call: Callable[[], None]) -> None:
        """Never."""


class Slots:
    """Which slots are taken, and how many are free."""

    def __init__(
        self,
        registry: Registry,
        limits: RunLimits,
        loads: Loads,
        left: Callable[[], None],
        asking: Callable[[str], int],
    ) -> None:
        """`left` is called whenever a slot is left; `asking` says how many workers ask for a job of a type now."""
        self._limits = limits
        self._pools: list[tuple[int, list[JobType]]] = []
        self._asking = asking
        self._loads = loads
        self._taken: Counter[str] = Counter()
        self._left = left
        self._share_out(registry)
        registry.when_changed(lambda: self._changed(registry))

    def _changed(self, registry: Registry) -> None:
        self._share_out(registry)
        self._left()  # jobs of a type that is there again may wait

    def _share_out(self, registry: Registry) -> None:
        """Have a pool of slots for the types of each kind."""
        tasks, processes, remote, actions = by_kind(registry)
        self._pools = [
            (self._limits.max_tasks, tasks),
            (self._limits.max_processes, processes),
            (MAX_LEASES, remote),
            (MAX_ACTIONS, actions),
        ]

    def take(self, job_type: str) -> Slot:
        """A slot for a job of this type that has begun to run."""
        return Slot(partial(self._count, job_type))

    def _count(self, job_type: str, by: int) -> None:
        self._taken[job_type] += by
        if by < 0:
            self._left()

    def free(self) -> list[FreeSlots]:
        """The pools in which a job could begin now. Types that cannot run on this machine have no slot."""
        pools = [self._free_of(size, job_types) for size, job_types in self._pools]
        return [pool for pool in pools if pool.total > 0 and pool.of_type]

    def _free_of(self, size: int, job_types: list[JobType]) -> FreeSlots:
        total = size - sum(self._taken[job_type.name] for job_type in job_types)
        if total <= 0:
            return FreeSlots(0, {})
        of_type = {
            job_type.name: min(total, self._most_of(job_type, size) - self._taken[job_type.name])
            for job_type in job_types
            if job_type.unavailable() is None
        }
        return FreeSlots(total, {name: slots for name, slots in of_type.items() if slots > 0})

    def _most_of(self, job_type: JobType, size: int) -> int:
        """How many jobs of a type may run. While it loads one job waits for that: more would only keep others out.

        Of a type without a handler, a job begins only if a worker asks for one.
        """
        if job_type.is_remote:
            wanted = self._taken[job_type.name] + self._asking(job_type.name)
            return min(wanted, job_type.concurrency or size)
        return 1 if self._loads.is_loading(job_type.name) else job_type.concurrency or size


def by_kind(registry: Registry) -> tuple[list[JobType], list[JobType], list[JobType], list[JobType]]:
    """The types whose jobs are tasks, those whose jobs are processes, those whose jobs workers do elsewhere, and the
    server's own.
    """
    own = [each for each in registry if each.name == ACTION_TYPE]
    remote = [each for each in registry if each.is_remote]
    local = [each for each in registry if each.name != ACTION_TYPE and not each.is_remote]
    return [each for each in local if each.is_async], [each for each in local if not each.is_async], remote, own


def names_by_kind(registry: Registry) -> list[frozenset[str]]:
    """The names of the types that share slots, for each kind."""
    of_authors = by_kind(registry)[:-1]
    return [*(frozenset(job_type.name for job_type in kind) for kind in of_authors), frozenset({ACTION_TYPE})]
