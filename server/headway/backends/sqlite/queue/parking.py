"""Jobs of owners and keys that run as many as they may are parked: outside of what claims read, until a place is free.

A parked job has a negative turn, which says nothing of its place: it gets a turn when it is opened.
"""

import heapq
from collections.abc import Iterator, Sequence
from typing import Any

from ....ports.actions import ACTION_TYPE
from ....quotas import Holder as Kind
from ...memory.running_limits import Group, Holder, Waiting
from ..rows import Row
from ..statements import SQL
from ..transaction import Transaction

IN_FRONT = 0
"""The turn of a job that was interrupted: before all others."""
PARKED = -1
PARKED_IN_FRONT = -2
PARKED_AT_ONCE = 1_000
"""How many jobs are parked in one step, in which others wait for the writer."""


def turn_of(tx: Transaction, group: Group, priority: int) -> int:
    """The turn of a job that falls due now."""
    if tx.limits.in_force and not tx.limits.enter(group, priority):
        return PARKED
    return tx.next_turns(group.job_type, priority, group.owner)


def turns_of(tx: Transaction, group: Group, priority: int, jobs: int) -> Sequence[int]:
    """The turns of several jobs that fall due now."""
    if tx.limits.in_force or not jobs:
        return [turn_of(tx, group, priority) for _ in range(jobs)]
    first = tx.next_turns(group.job_type, priority, group.owner, jobs)
    return range(first, first + jobs)


def come_back(tx: Transaction, job_id: str, group: Group, priority: int) -> None:
    """A job that was interrupted has been queued again, in front of all others."""
    if not tx.limits.enter(group, priority):
        tx.execute(SQL["give_turn"], {"id": job_id, "turn": PARKED_IN_FRONT})


# Places that are free


def settle(tx: Transaction) -> None:
    """Open parked jobs where places are free."""
    for holder, groups in tx.limits.settling():
        _fill(tx, groups, tx.limits.free(holder))


def _fill(tx: Transaction, groups: Sequence[Group], most: int) -> None:
    """Open parked jobs of one type and holder: by priority and age, `most` of them."""
    with_room = set(groups)
    opened: list[dict[str, Any]] = []
    for (lowered, turn, _, job_id), group in heapq.merge(*(_parked(tx, group, most) for group in groups)):
        if group in with_room and tx.limits.open(group, -lowered):
            new_turn = IN_FRONT if turn == PARKED_IN_FRONT else tx.next_turns(group.job_type, -lowered, group.owner)
            opened.append({"id": job_id, "turn": new_turn})
        else:
            with_room.discard(group)
            if not with_room:
                break
    tx.executemany(SQL["give_turn"], opened)


def _parked(tx: Transaction, group: Group, most: int) -> Iterator[tuple[Row, Group]]:
    """The first parked jobs of a group, in the order in which they are to be opened."""
    where = {"owner": group.owner, "key_id": group.key_id or None, "type": group.job_type, "limit": most}
    for row in tx.execute(SQL["parked"], where).fetchall():
        yield row, group


# Limits


def set_limit(tx: Transaction, kind: Kind, name: str, limit: int | None, *, own: bool) -> None:
    """An owner or a key may run `limit` jobs from now on; `None`: any number. Not `own`: the default is in force again.

    Jobs that run go on. Call `tidy` until there is nothing more to do.
    """
    if own:
        tx.limits.set((kind, name), limit)
    else:
        tx.limits.unset((kind, name))
    if tx.limits.in_force:
        running = tx.execute(SQL[f"running_of_{kind}"], {"name": name}).fetchone()[0]
        tx.limits.load([((kind, name), running)], _waiting(tx.execute(SQL[f"waiting_of_{kind}"], {"name": name})))


def load(tx: Transaction, limits: Sequence[tuple[Holder, int | None]]) -> None:
    """Begin with what the record holds. `limits`: those of the holders that have a quota of their own."""
    for holder, limit in limits:
        tx.limits.set(holder, limit)
    if not tx.limits.in_force and tx.execute(SQL["any_parked"]).fetchone() is None:
        return
    running: dict[Holder, int] = {}
    for owner, key_id in tx.execute(SQL["running_by_holder"]).fetchall():
        for holder in Group(owner, key_id, "").holders:
            running[holder] = running.get(holder, 0) + 1
    waiting = list(_waiting(tx.execute(SQL["waiting_by_group"])))
    for group, *_ in waiting:
        for holder in group.holders:
            running.setdefault(holder, 0)
    tx.limits.load(list(running.items()), waiting)


def _waiting(rows: Any) -> Iterator[Waiting]:
    for owner, key_id, job_type, priority, parked, jobs in rows.fetchall():
        if job_type != ACTION_TYPE:  # no limit applies to actions
            yield Group(owner, key_id, job_type), priority, bool(parked), jobs


def tidy(tx: Transaction, kind: Kind, name: str) -> bool:
    """Park those open jobs of an owner or a key that would be claimed last and are more than may start.

    Returns whether there may be more of them.
    """
    left = PARKED_AT_ONCE
    for job_type, jobs in tx.limits.excess((kind, name)).items():
        where = {"name": name, "type": job_type, "limit": min(jobs, left)}
        rows = tx.execute(SQL[f"last_open_of_{kind}"], where).fetchall()
        for job_id, owner, key_id, priority, turn in rows:
            tx.limits.park(Group(owner, key_id, job_type), priority)
            tx.turns.left(job_type, priority, owner, turn)
            parked = PARKED_IN_FRONT if turn == IN_FRONT else PARKED
            tx.execute(SQL["give_turn"], {"id": job_id, "turn": parked})
        left -= len(rows)
        if left <= 0:
            return True
    return False


def tidy_all(tx: Transaction) -> bool:
    """`tidy` for everybody. Returns whether there may be more to do."""
    return any(tidy(tx, *holder) for holder in tx.limits.holders())
