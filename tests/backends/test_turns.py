"""How SQLite gives turns: by which index it claims, what is in memory, and what a rollback undoes."""

import asyncio
import sqlite3
from contextlib import closing

import pytest
from headway.backends.memory import turns as memory
from headway.backends.memory.turns import NEVER_MS, Turns
from headway.backends.sqlite.queue import joining
from headway.backends.sqlite.statements import SQL

from tests.conformance.backends import SqliteBackend
from tests.conformance.records import at, claim_up_to, insert_many, new_job

WHERE = {"type": "report", "priority": 0, "now": 1, "limit": 5, "below": 9}


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("claim_candidates", "jobs_queued"),
        ("next_due", "jobs_queued"),
        ("next_priority", "jobs_queued"),
        ("first_turn", "jobs_queued"),
        ("newly_due", "jobs_not_due"),
        ("first_not_due", "jobs_not_due"),
    ],
)
async def test_a_claim_seeks_in_an_index_and_sorts_nothing(backend: SqliteBackend, name: str, index: str) -> None:
    with closing(sqlite3.connect(backend.path)) as connection:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {SQL[name]}", WHERE)]
    assert len(plan) == 1
    assert f"INDEX {index}" in plan[0]


async def test_many_jobs_that_fall_due_at_once_get_their_turns_in_several_steps(
    backend: SqliteBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joining, "FALL_DUE_AT_ONCE", 3)
    jobs = await insert_many(backend.store, 7, run_at=at(5))
    taken: list[str] = []
    claims = await claim_up_to(backend.store, {"report": 9}, 9, seconds=5)
    while claims.claims:
        taken += [claim.job.id for claim in claims.claims]
        assert claims.next_run_at == (at(5) if len(taken) < len(jobs) else None), "the others are due already"
        claims = await claim_up_to(backend.store, {"report": 9}, 9, seconds=5)
    assert taken == [job.id for job in jobs]


async def test_a_submission_that_fails_takes_no_turn(backend: SqliteBackend) -> None:
    store = backend.store
    first = new_job(owner="ada")
    await store.insert(first)
    results = await asyncio.gather(*(store.insert(first) for _ in range(5)), return_exceptions=True)
    assert all(isinstance(result, sqlite3.IntegrityError) for result in results)
    await insert_many(store, 1, owner="ada")
    with closing(sqlite3.connect(backend.path)) as connection:
        assert connection.execute("SELECT turn FROM jobs ORDER BY id").fetchall() == [(1,), (2,)]


def nothing_waits(_: str, __: int) -> None:
    return None


def test_jobs_that_come_together_get_the_turns_that_they_get_one_after_the_other() -> None:
    together, alone = Turns(), Turns()
    for owner, jobs in (("ada", 3), ("bob", 2), ("ada", 1), ("cy", 4), ("bob", 5)):
        first = together.next("report", 0, owner, nothing_waits, jobs)
        assert [alone.next("report", 0, owner, nothing_waits) for _ in range(jobs)] == [*range(first, first + jobs)]
    (line,), (other,) = together._lines.values(), alone._lines.values()
    assert (line.waiting, line.owners) == (other.waiting, other.owners)
    together.rolled_back()
    assert (line.waiting, line.owners) == (0, {})


def test_what_a_transaction_did_to_the_turns_is_undone() -> None:
    turns = Turns()
    turns.load([("report", 0, "ada", 4, 9, 6)], next_due_ms=77)
    turns.claimed("report", 0, "ada", [4])
    assert turns.next("report", 0, "bob", lambda _, __: 5) == 4  # the turn of the last claim
    turns.left("report", 0, "ada", 5)
    turns.falls_due(3)
    turns.rolled_back()
    (line,) = turns._lines.values()
    assert (line.waiting, line.claimed, line.owners) == (6, 4, {"ada": (9, 6, 0)})
    assert turns.next_due_ms == 77
    assert turns.next("report", 0, "ada", nothing_waits) == 10
    turns.committed()
    turns.rolled_back()
    assert turns.next("report", 0, "ada", nothing_waits) == 11


def test_memory_holds_the_owners_with_waiting_jobs_and_a_few_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "OWNERS_REMEMBERED", 3)
    turns = Turns()
    for number in range(50):
        turns.next("report", 0, "steady", lambda _, __: 1)
        owner = f"owner {number}"
        turns.claimed("report", 0, owner, [turns.next("report", 0, owner, lambda _, __: 1)])
        turns.committed()
    (line,) = turns._lines.values()
    assert len(line.owners) <= 3 + 50
    turns.claimed("report", 0, "steady", range(1, 51))
    assert turns.next("report", 0, "ada", nothing_waits) == 1, "with nobody waiting they begin anew"
    (line,) = turns._lines.values()
    assert set(line.owners) == {"ada"}
    assert turns.next_due_ms == NEVER_MS
