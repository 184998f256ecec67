"""The ends of children: each is held back until nothing that the child has left is there any more. Linux only."""

import time
from dataclasses import dataclass, field
from pathlib import Path

from ...cgroups.cgroup import Cgroup, cgroup_of
from ...limits import DIE_WITHIN_S
from ..kin import Reaped, children, kill, reaped

LOOK_AGAIN_S = 0.01
"""A cgroup may seem populated for a moment after its last process has been reaped, and nothing wakes this one then."""


@dataclass(eq=False, slots=True)
class Ended:
    """A child that has ended."""

    how: Reaped
    report_by_s: float
    """By the monotonic clock. Whatever is left then, the kernel holds up, or it is another user's."""
    left: set[int] = field(default_factory=set)
    """What it has left and is still there, killed."""
    cgroup: Cgroup | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing of it is there any more."""
        return not self.left and not (self.cgroup is not None and self.cgroup.populated)


class Ends:
    """Reaps children, kills what they leave behind, and says when that is gone.

    What an ended child leaves behind falls to this process; a child that runs is the parent of its own orphans. What
    falls here belongs to the children that were just reaped, or to those whose leftovers were: one child's many
    leftovers do not hold up the end of another.
    """

    def __init__(self, cgroups: Path | None = None) -> None:
        """`cgroups`: where children have cgroups, if they have."""
        self._cgroups = cgroups
        self._held_back: list[Ended] = []
        self._killed: set[int] = set()

    def timeout_s(self) -> float | None:
        """How long to wait for a child to end before `collect` is due all the same. `None`: for ever."""
        if not self._held_back:
            return None
        if any(not ended.left for ended in self._held_back):
            return LOOK_AGAIN_S
        return self._held_back[0].report_by_s - time.monotonic()

    def collect(self, living: set[int], own: frozenset[int] = frozenset()) -> list[Ended]:
        """The ends that are no longer held back. Removes children from `living` as soon as they are reaped.

        `own`: other children of this process, which are to live on. To be called whenever a child has ended.
        """
        concerned = self._reap(living)
        if not self._held_back and not self._killed:
            return []
        self._kill_others(living, own, concerned)
        now_s = time.monotonic()
        over = [ended for ended in self._held_back if ended.is_over or ended.report_by_s <= now_s]
        self._held_back = [ended for ended in self._held_back if ended not in over]
        for ended in over:
            if ended.cgroup is not None:
                ended.cgroup.remove()
        return over

    def _reap(self, living: set[int]) -> list[Ended]:
        """Those that the children which now fall to this process may belong to."""
        concerned: list[Ended] = []
        for how in reaped():
            if how.pid in living:
                living.discard(how.pid)
                cgroup = None if self._cgroups is None else cgroup_of(how.pid, self._cgroups)
                if cgroup is not None:
                    cgroup.kill()
                ended = Ended(how, time.monotonic() + DIE_WITHIN_S, cgroup=cgroup)
                self._held_back.append(ended)
                concerned.append(ended)
            else:
                parents = [ended for ended in self._held_back if how.pid in ended.left]
                for ended in parents:
                    ended.left.discard(how.pid)
                concerned += parents
        return concerned

    def _kill_others(self, living: set[int], own: frozenset[int], concerned: list[Ended]) -> None:
        others = children() - living - own
        while more := self._reap(living):  # then their children may have fallen to this process since, or already
            concerned += more
            others = children() - living - own
        for pid in others - self._killed:
            kill(pid)
            for ended in concerned:
                ended.left.add(pid)
        self._killed = others
