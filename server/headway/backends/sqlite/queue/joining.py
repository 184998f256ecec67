"""Jobs join the queue, and get their turn when they fall due. Called in the writer's thread."""

from collections.abc import Sequence
from operator import attrgetter

from ....domain.instants import to_ms
from ....domain.jobs import NewJob
from ...memory.quotas import NO_KEY
from ...memory.running_limits import Group
from ..rows import new_job_values
from ..statements import INSERT, SQL, in_statements
from ..transaction import Transaction
from .parking import turn_of

FALL_DUE_AT_ONCE = 1_000
"""How many jobs get their turn in one step, in which others wait for the writer."""

_by_age = attrgetter("run_at", "id")


def insert(tx: Transaction, jobs: Sequence[NewJob]) -> None:
    """Insert jobs, in as few statements as the sizes allow."""
    fall_due(tx, max(to_ms(new.created_at) for new in jobs))
    ordered = jobs if len(jobs) == 1 else sorted(jobs, key=_by_age)
    rows = [new_job_values(new, _turn_of(tx, new)) for new in ordered]
    for statement, values in in_statements(INSERT, rows):
        tx.execute(statement, values)
    for new, row in zip(ordered, rows, strict=True):
        tx.inserted(new, row[-1])


def _turn_of(tx: Transaction, new: NewJob) -> int | None:
    """The job's turn; `None` if it falls due later."""
    if new.run_at is new.created_at or to_ms(new.run_at) <= to_ms(new.created_at):
        return turn_of(tx, Group(new.owner, new.key_id or NO_KEY, new.type), new.priority)
    tx.turns.falls_due(to_ms(new.run_at))
    return None


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
