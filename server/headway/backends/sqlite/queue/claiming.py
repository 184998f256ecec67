"""Claims: which jobs run next. Called in the writer's thread."""

import heapq
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime

from ....domain.instants import nearest_to_ms, to_ms
from ....domain.jobs import Claim, Transition
from ....ports.jobs import Claims, FreeSlots
from ...memory.running_limits import Group
from ..rows import COLUMN_COUNT, Kept, to_job
from ..statements import SQL
from ..transaction import Transaction
from .joining import fall_due
from .parking import settle

_Candidate = tuple[int, int, int, str, str, str]
"""A job that could be claimed: negated priority, turn, milliseconds of `run_at`, id, type and owner."""

ABOVE_ALL_PRIORITIES = 1 << 31  # above every priority


def claim(
    tx: Transaction,
    pools: Sequence[FreeSlots],
    now: datetime,
    median_s: Callable[[str], float | None],
) -> Claims:
    """Take the first due jobs of each pool, and find out when the next one falls due."""
    fall_due(tx, to_ms(now))
    if tx.limits.unsettled:
        settle(tx)
    chosen: list[_Candidate] = []
    next_due: list[int] = []
    choose = _choose_within_limits if tx.limits.in_force else _choose
    for pool in pools:
        chosen += choose(tx, pool, next_due)
    chosen.sort()
    started = _start(tx, {job_id: job_type for *_, job_id, job_type, _ in chosen}, now, median_s)
    turns: defaultdict[tuple[str, int, str], list[int]] = defaultdict(list)
    for lowered, turn, _, _, job_type, owner in chosen:
        turns[job_type, -lowered, owner].append(turn)
    for line, used in turns.items():
        tx.turns.claimed(*line, used)
    return Claims(started, nearest_to_ms(min(next_due)) if next_due else None)


def _choose(tx: Transaction, pool: FreeSlots, next_due: list[int]) -> list[_Candidate]:
    """The first due jobs of a pool."""
    candidates: list[_Candidate] = []
    for job_type, slots in pool.of_type.items():
        if (limit := min(slots, pool.total)) > 0:  # to SQLite a negative limit is none at all
            candidates += _first_due(tx, job_type, limit, next_due)
    return heapq.nsmallest(pool.total, candidates)


def _choose_within_limits(tx: Transaction, pool: FreeSlots, next_due: list[int]) -> list[_Candidate]:
    """The first due jobs of a pool that their owners and keys may start. They count as running from now on."""
    slots = dict(pool.of_type)
    chosen: list[_Candidate] = []
    if pool.total <= 0:
        return chosen
    for found, key_id in heapq.merge(*(_startable(tx, job_type, slots, next_due) for job_type in pool.of_type)):
        lowered, _, _, _, job_type, owner = found
        if not tx.limits.start(Group(owner, key_id, job_type), -lowered):
            continue
        chosen.append(found)
        slots[job_type] -= 1
        if len(chosen) == pool.total:
            break
    return chosen


def _startable(
    tx: Transaction, job_type: str, slots: Mapping[str, int], next_due: list[int]
) -> Iterator[tuple[_Candidate, str]]:
    """The type's due jobs as candidates, each with its key, for as long as the type has a slot. Read one by one."""
    priorities = _priorities(tx, job_type)
    for priority in priorities:
        next_due += tx.execute(SQL["next_due"], {"type": job_type, "priority": priority}).fetchone() or ()
    for priority in priorities:
        rows = tx.execute(SQL["claimable"], {"type": job_type, "priority": priority})
        while slots[job_type] > 0 and (row := rows.fetchone()):
            turn, run_at, job_id, owner, key_id = row
            yield (-priority, turn, run_at, job_id, job_type, owner), key_id
        rows.close()


def _first_due(tx: Transaction, job_type: str, limit: int, next_due: list[int]) -> list[_Candidate]:
    """The type's first due jobs. For each priority, `next_due` gets the time at which the next one falls due.

    Seeks in an index of the type: it does not matter how many jobs of this or of other types are queued.
    """
    found: list[_Candidate] = []
    for priority in _priorities(tx, job_type):
        where = {"type": job_type, "priority": priority, "limit": limit - len(found)}
        rows = tx.execute(SQL["claim_candidates"], where).fetchall()
        found += [(-priority, turn, run_at, job_id, job_type, owner) for turn, run_at, job_id, owner in rows]
        next_due += tx.execute(SQL["next_due"], where).fetchone() or ()
    return found


def _priorities(tx: Transaction, job_type: str) -> list[int]:
    """The priorities of queued jobs, highest first: one seek for each, however many jobs there are."""
    found: list[int] = []
    below = ABOVE_ALL_PRIORITIES
    while row := tx.execute(SQL["next_priority"], {"type": job_type, "below": below}).fetchone():
        below = row[0]
        found.append(below)
    return found


def _start(
    tx: Transaction, chosen: Mapping[str, str], now: datetime, median_s: Callable[[str], float | None]
) -> list[Claim]:
    """Begin an attempt of each chosen job: one statement for all jobs of a type."""
    started: dict[str, Claim] = {}
    for job_type in set(chosen.values()):
        median = median_s(job_type)
        where = {
            "ids": json.dumps([job_id for job_id, of_type in chosen.items() if of_type == job_type]),
            "now": to_ms(now),
            "eta_s": None if median is None else round(median),
        }
        for row in tx.execute(SQL[Transition.CLAIM], where).fetchall():
            job = to_job(row)
            tx.moved(Transition.CLAIM, job, Kept.of(row[COLUMN_COUNT:-2]))
            started[job.id] = Claim(job, *row[-2:])
    return [started[job_id] for job_id in chosen]
