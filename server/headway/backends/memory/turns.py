"""The turns of owners: within a priority and a pool of slots, jobs are claimed by turn, one of each owner in a turn.

This is start-time fair queueing (Goyal, Vin and Cheng, 1996) with jobs of equal weight. A job gets its turn when it
falls due: the one after the last turn of its owner, or the current one if that is later. So an owner who comes while
thousands of another's jobs wait is next, and one who was idle has saved up nothing.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

FIRST = 1
NEVER_MS = 1 << 62
OWNERS_REMEMBERED = 1_000
"""Of how many owners without waiting jobs the last turn is known. Forgetting one gives them a turn too early."""

FirstWaiting = Callable[[str, int], int | None]
"""Reads the first turn of the waiting jobs of a type and priority, if there are any; those in front do not count."""


class _Owner(NamedTuple):
    last: int
    """The last turn that one of their jobs was given."""
    waiting: int
    claimed: int
    """The last turn that one of their jobs was claimed in."""


_NEW = _Owner(0, 0, 0)


@dataclass(slots=True)
class _Line:
    """The waiting jobs of one priority and pool."""

    waiting: int = 0
    claimed: int = FIRST
    owners: dict[str, _Owner] = field(default_factory=dict)
    current: dict[str, int] = field(default_factory=dict)
    """The current turn of each type. A type at its limit falls behind, and would hold up the turn of all others."""
    outdated: dict[str, bool] = field(default_factory=dict)

    def restore(self, waiting: int, claimed: int, owner: str, known: _Owner | None) -> None:
        """Go back to these counts, and to what was known of an owner."""
        self.waiting, self.claimed = waiting, claimed
        if known is None:
            del self.owners[owner]
        else:
            self.owners[owner] = known


class Turns:
    """Gives turns, in the writer's thread. What a transaction changes is undone if it is rolled back."""

    def __init__(self, sharing: Sequence[Collection[str]] = ()) -> None:
        """`sharing` holds the job types that share slots, pool by pool. Those in none share with each other."""
        self.pool_of = {job_type: pool for pool, job_types in enumerate(sharing) for job_type in job_types}
        self._lines: dict[tuple[int, int | None], _Line] = {}
        self._undo: list[Callable[[], None]] = []
        self.next_due_ms = NEVER_MS
        """No job without a turn falls due before this."""

    def load(self, waiting: Iterable[tuple[str, int, str, int, int, int]], next_due_ms: int | None) -> None:
        """Begin with what the record holds: types, priorities and owners of waiting jobs; first and last turns; counts.

        `next_due_ms`: when the first job without a turn falls due, if there is one.
        """
        for job_type, priority, owner, first, last, jobs in waiting:
            line = self._line(job_type, priority)
            known = line.owners.get(owner, _NEW)
            line.owners[owner] = _Owner(max(known.last, last), known.waiting + jobs, 0)
            line.waiting += jobs
            line.current[job_type] = min(line.current.get(job_type, first), first)
        for line in self._lines.values():
            line.claimed = max(line.current.values())
        self.next_due_ms = NEVER_MS if next_due_ms is None else next_due_ms

    def next(self, job_type: str, priority: int, owner: str, first_waiting: FirstWaiting, jobs: int = 1) -> int:
        """The turn of a job that falls due now. Of several, the first one: the others have those that follow."""
        line = self._line(job_type, priority)
        if not line.waiting and line.owners:  # nobody waits: nobody has to be fair to anybody
            line = self._replace(job_type, priority)
        last, waiting, claimed = line.owners.get(owner, _NEW)
        turn = last + 1
        if waiting < line.waiting or not waiting:
            turn = max(turn, self._current(line, job_type, priority, first_waiting))
        self._change(line, owner, _Owner(turn + jobs - 1, waiting + jobs, claimed))
        line.waiting += jobs
        return turn

    def claimed(self, job_type: str, priority: int, owner: str, turns: Sequence[int]) -> None:
        """Jobs of one owner, which had these turns, are claimed. Those in front (0) had none."""
        line = self._line(job_type, priority)
        known = line.owners.get(owner)
        used = [turn for turn in turns if turn > 0]
        if not used or known is None or not known.waiting:
            return
        self._outdate(line, job_type)
        newest, jobs = max(used), min(len(used), known.waiting)
        self._leave(line, owner, jobs, known.last, max(known.claimed, newest))
        line.claimed = max(line.claimed, newest)

    def left(self, job_type: str, priority: int, owner: str, turn: int | None) -> None:
        """A job waits no longer, and was not claimed. One in front (0), one that was not due (`None`) and a parked one
        (-1) had no turn.
        """
        line = self._line(job_type, priority)
        known = line.owners.get(owner)
        if not turn or turn < 0 or known is None or not known.waiting:
            return
        self._outdate(line, job_type)
        # A turn that was not used goes to the owner's next job.
        self._leave(line, owner, 1, turn - 1 if turn == known.last else known.last, known.claimed)

    def _outdate(self, line: _Line, job_type: str) -> None:
        if not line.outdated.get(job_type):
            self._set_key(line.outdated, job_type, value=True)

    def _leave(self, line: _Line, owner: str, jobs: int, last: int, claimed: int) -> None:
        """`jobs` of an owner's jobs wait no longer."""
        waiting = line.owners[owner].waiting - jobs
        # The turns of cancelled jobs were not used.
        self._change(line, owner, _Owner(last if waiting else claimed, waiting, claimed))
        line.waiting -= jobs

    def falls_due(self, at_ms: int) -> None:
        """A job without a turn falls due at this time."""
        if at_ms < self.next_due_ms:
            self._set_next_due(at_ms)

    def due_until(self, next_due_ms: int | None) -> None:
        """All jobs have a turn but those that fall due at this time or later."""
        self._set_next_due(NEVER_MS if next_due_ms is None else next_due_ms)

    def committed(self) -> None:
        """The transaction is on disk."""
        self._undo.clear()

    def rolled_back(self) -> None:
        """The transaction changed nothing."""
        while self._undo:
            self._undo.pop()()

    def _line(self, job_type: str, priority: int) -> _Line:
        key = (priority, self.pool_of.get(job_type))
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = _Line()
        return line

    def _replace(self, job_type: str, priority: int) -> _Line:
        line = _Line()
        self._set_key(self._lines, (priority, self.pool_of.get(job_type)), line)
        return line

    def _current(self, line: _Line, job_type: str, priority: int, first_waiting: FirstWaiting) -> int:
        """The current turn of a type: that of the last claims, which comes before those of the jobs that wait.

        It never goes back, or each newcomer would be in front of the one before.
        """
        known = line.current.get(job_type)
        if known is None or line.outdated.get(job_type):
            first = first_waiting(job_type, priority)
            known = max(known or FIRST, line.claimed if first is None else first - 1)
            self._set_key(line.current, job_type, known)
            self._set_key(line.outdated, job_type, value=False)
        return known

    def _change(self, line: _Line, owner: str, known: _Owner) -> None:
        """Note what the line is like before it changes, and what is known of an owner from now on."""
        self._undo.append(partial(line.restore, line.waiting, line.claimed, owner, line.owners.get(owner)))
        line.owners[owner] = known
        if len(line.owners) > OWNERS_REMEMBERED + line.waiting:
            idle = next(name for name, each in line.owners.items() if not each.waiting)
            self._undo.append(partial(line.owners.__setitem__, idle, line.owners.pop(idle)))

    def _set_next_due(self, at_ms: int) -> None:
        self._undo.append(partial(setattr, self, "next_due_ms", self.next_due_ms))
        self.next_due_ms = at_ms

    def _set_key(self, of: dict[Any, Any], key: object, value: object) -> None:
        before = of.get(key)
        self._undo.append(partial(of.pop, key) if before is None else partial(of.__setitem__, key, before))
        of[key] = value
