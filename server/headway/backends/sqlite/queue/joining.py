"""Jobs join the queue, and get their turn when they fall due. Called in the writer's thread."""

from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter

from ....domain.filters import words_of
from ....domain.instants import to_ms
from ....domain.jobs import NewJob
from ...memory.quotas import NO_KEY
from ...memory.running_limits import Group
from ..rows import Row, new_job_values
from ..statements import INSERT, SQL, in_statements
from ..transaction import Transaction
from .parking import turn_of, turns_of

FALL_DUE_AT_ONCE = 1_000
"""How many jobs get their turn in one step, in which others wait for the writer."""

_by_age = attrgetter("run_at", "id")
_group = attrgetter("owner", "key_id", "type", "priority")


def insert(tx: Transaction, jobs: Sequence[NewJob]) -> None:
    """Insert jobs, in as few statements as the sizes allow."""
    fall_due(tx, max(to_ms(new.created_at) for new in jobs))
    ordered = jobs if all(new.run_at is new.created_at for new in jobs) else sorted(jobs, key=_by_age)
    rows: list[Row] = []
    for (owner, key_id, job_type, priority), some in groupby(ordered, key=_group):
        alike = list(some)
        turns = _turns(tx, Group(owner, key_id or NO_KEY, job_type), priority, alike)
        of_group = [new_job_values(new, turn) for new, turn in zip(alike, turns, strict=True)]
        tx.inserted(alike, sum(row[-1] for row in of_group))
        rows += of_group
    for statement, values in in_statements(INSERT, rows):
        tx.execute(statement, values)
    for new in jobs:
        if new.metadata:
            tx.index_metadata(new)
        if new.label is not None:
            tx.index_words(new, words_of(new.label))


def _turns(tx: Transaction, group: Group, priority: int, jobs: Sequence[NewJob]) -> list[int | None]:
    """The turn of each job; `None` if it falls due later."""
    due = [new.run_at is new.created_at or to_ms(new.run_at) <= to_ms(new.created_at) for new in jobs]
    turns = iter(turns_of(tx, group, priority, sum(due)))
    for new, is_due in zip(jobs, due, strict=True):
        if not is_due:
            tx.turns.falls_due(to_ms(new.run_at))
    return [next(turns) if is_due else None for is_due in due]


def fall_due(tx: Transaction, now_ms: int) -> None:
    """Give those jobs their turn that have fallen due, the oldest first."""
    if tx.turns.next_due_ms > now_ms:
        return
    where = {"now": now_ms, "limit": FALL_DUE_AT_ONCE}
    due = tx.execute(SQL["newly_due"], where).fetchall()
    tx.executemany(
        SQL["give_turn"],
        [
            {"id": job_id, "turn": turn_of(tx, Group(owner, key_id, job_type), priority)}
            for job_id, owner, key_id, job_type, priority in due
        ],
    )
    row = tx.execute(SQL["first_not_due"]).fetchone()
    tx.turns.due_until(None if row is None else row[0])
