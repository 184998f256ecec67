"""How SQLite parks the jobs that wait for a quota of running jobs: by which index, and what a rollback undoes."""

import asyncio
import sqlite3
from contextlib import closing

import pytest
from headway.backends.memory import running_limits
from headway.backends.sqlite.queue import parking
from headway.backends.sqlite.statements import SQL
from headway.quotas import NO_QUOTA, Quota

from tests.conformance.backends import SqliteBackend
from tests.conformance.records import DONE, claim_one, claim_up_to, finish, insert_many, new_job

WHERE = {"owner": "ada", "key_id": None, "type": "report", "priority": 0, "limit": 5}


@pytest.mark.parametrize(
    ("name", "index"), [("claimable", "jobs_queued"), ("parked", "jobs_parked"), ("any_parked", "jobs_parked")]
)
async def test_a_claim_and_the_next_parked_job_are_sought_in_an_index(
    backend: SqliteBackend, name: str, index: str
) -> None:
    with closing(sqlite3.connect(backend.path)) as connection:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {SQL[name]}", WHERE)]
    assert len(plan) == 1
    assert f"INDEX {index}" in plan[0]


def turns(backend: SqliteBackend) -> list[int]:
    with closing(sqlite3.connect(backend.path)) as connection:
        return [turn for (turn,) in connection.execute("SELECT turn FROM jobs WHERE status = 'queued' ORDER BY id")]


async def test_claims_do_not_read_what_waits_for_a_quota(backend: SqliteBackend) -> None:
    await backend.close()
    store = await backend.open(quota=Quota(running=2))
    await insert_many(store, 5, owner="ada")
    assert turns(backend) == [1, 2, parking.PARKED, parking.PARKED, parking.PARKED]
    await claim_up_to(store, {"report": 9}, 9, 1)
    assert turns(backend) == [parking.PARKED] * 3


async def test_a_submission_that_fails_takes_no_place(backend: SqliteBackend) -> None:
    await backend.close()
    store = await backend.open(quota=Quota(running=2))
    first = new_job(owner="ada")
    await store.insert(first)
    failed = await asyncio.gather(*(store.insert(first) for _ in range(5)), return_exceptions=True)
    assert all(isinstance(each, sqlite3.IntegrityError) for each in failed)
    await insert_many(store, 2, owner="ada")
    assert turns(backend) == [1, 2, parking.PARKED]
    assert len((await claim_up_to(store, {"report": 9}, 9, 1)).claims) == 2


async def test_a_claim_that_fails_leaves_one_free_place_to_the_next(backend: SqliteBackend) -> None:
    await backend.close()
    store = await backend.open(quota=Quota(running=1))
    await insert_many(store, 3, owner="ada")
    first = await claim_one(store, 1)
    await finish(store, first.job, DONE, 2)
    with closing(sqlite3.connect(backend.path)) as connection:
        connection.execute(
            "CREATE TRIGGER no_start BEFORE UPDATE OF status ON jobs WHEN new.status = 'running'"
            " BEGIN SELECT RAISE(ABORT, 'not now'); END"
        )
        with pytest.raises(sqlite3.IntegrityError, match="not now"):
            await claim_one(store, 3)
        connection.execute("DROP TRIGGER no_start")
    other = await insert_many(store, 1, owner="ada", type="other")
    (claim,) = (await claim_up_to(store, {"other": 9}, 9, 4)).claims
    assert claim.job.id == other[0].id
    assert (await claim_up_to(store, {"report": 9}, 9, 4)).claims == []


async def test_limits_on_long_queues_are_set_and_lifted_in_steps(
    backend: SqliteBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parking, "PARKED_AT_ONCE", 3)
    monkeypatch.setattr(running_limits, "MOST_OPEN", 4)
    store, keys = backend.store, await backend.keys()
    jobs = await insert_many(store, 11, owner="ada")
    await keys.set_owner_quota("ada", Quota(running=2))
    assert turns(backend) == [1, 2] + [parking.PARKED] * 9
    await keys.set_owner_quota("ada", NO_QUOTA)
    assert turns(backend) == [1, 2, 3, 4] + [parking.PARKED] * 7
    later = await insert_many(store, 1, owner="ada")
    taken = [claim.job.id for _ in range(6) for claim in (await claim_up_to(store, {"report": 2}, 2, 1)).claims]
    assert taken == [job.id for job in (*jobs, *later)]
    await insert_many(store, 5, owner="ada")
    assert parking.PARKED not in turns(backend), "nothing is parked without a limit once the queue has been through"


async def test_doctor_finds_parked_jobs_that_nothing_holds_up(backend: SqliteBackend) -> None:
    await insert_many(backend.store, 2, owner="ada")
    with closing(sqlite3.connect(backend.path)) as connection:
        connection.execute("UPDATE jobs SET turn = -1")
        connection.commit()
    (found,) = await backend.keeper.find_miscounts()
    assert "2 report jobs of ada wait for a quota that has room" in found
    await backend.close()
    await backend.open()
    assert not await backend.keeper.find_miscounts(), "the restart has mended it"
    assert len((await claim_up_to(backend.store, {"report": 9}, 9, 1)).claims) == 2
