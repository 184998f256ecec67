"""`KeyStore`: keys, sessions, the server's secret."""

import asyncio

import pytest
from headway.backends.sqlite.key_store import MOST_SESSIONS_PER_KEY
from headway.domain.access import EVERY_OWNER, ApiKey
from headway.domain.filters import JobFilter
from headway.domain.jobs import Status
from headway.errors import KeyNameTakenError, KeyNotFoundError
from headway.ports.events import Bell

from tests.conformance.backends import Backend
from tests.conformance.records import DONE, OWNER, STRANGER, at, ended_job, new_job, running_job


def key(name: str, **chosen: object) -> ApiKey:
    fields = {"id": f"id of {name}", "owner": name, "read_only": False, "admin": False, "created_at": at(0)} | chosen
    return ApiKey(name=name, **fields)  # type: ignore[arg-type]


async def test_a_key_is_found_by_its_hash_and_id_until_it_is_revoked(backend: Backend) -> None:
    keys, ann, bob = await backend.keys(), key("ann", read_only=True), key("bob", admin=True)
    assert not await keys.any_valid()
    await keys.add(ann, "sum of ann")
    await keys.add(bob, "sum of bob")
    assert (await keys.find("sum of ann"), await keys.get(bob.id), await keys.find("sum")) == (ann, bob, None)
    revoked = backend.hub.listen(Bell.REVOKED)
    await keys.revoke("ann", at(5))
    assert await revoked.wait(1) == {ann.id}
    assert (await keys.find("sum of ann"), await keys.get(ann.id)) == (None, None)
    assert await keys.any_valid()
    assert [(each.name, each.revoked_at) for each in await keys.all()] == [("ann", at(5)), ("bob", None)]
    with pytest.raises(KeyNotFoundError):
        await keys.revoke("ann", at(6))


async def test_a_key_keeps_the_types_that_it_may_work_on(backend: Backend) -> None:
    keys, worker = await backend.keys(), key("worker", works_on=frozenset({"double", "make-thumbnail"}))
    all_rounder, plain = key("all-rounder", works_on=frozenset({"*"})), key("plain")
    for each in (worker, all_rounder, plain):
        await keys.add(each, f"sum of {each.name}")
    assert {each.name: each for each in await keys.all()} == {each.name: each for each in (worker, all_rounder, plain)}
    rights = [
        (each.caller.may_work_on("double"), each.caller.may_work_on("other")) for each in (worker, all_rounder, plain)
    ]
    assert rights == [(True, False), (True, True), (False, False)]


async def test_a_name_is_free_again_once_its_key_is_revoked(backend: Backend) -> None:
    keys = await backend.keys()
    first, second = key("ann"), key("ann", id="another")
    await keys.add(first, "first")
    with pytest.raises(KeyNameTakenError):
        await keys.add(second, "second")
    assert await keys.find("second") is None
    await keys.revoke("ann", at(1))
    await keys.add(second, "second")
    assert await keys.find("second") == second


async def test_of_many_simultaneous_keys_with_one_name_one_is_created(backend: Backend) -> None:
    keys = await backend.keys()
    made = await asyncio.gather(
        *(keys.add(key("ann", id=str(number)), f"sum {number}") for number in range(20)), return_exceptions=True
    )
    assert sum(isinstance(each, KeyNameTakenError) for each in made) == 19
    assert len(await keys.all()) == 1


async def test_a_session_stands_for_its_key_until_it_ends(backend: Backend) -> None:
    keys, ann = await backend.keys(), key("ann")
    await keys.add(ann, "sum")
    for name in ("one", "two", "late"):
        await keys.open_session(name, ann, at(20 if name == "late" else 10))
    assert await keys.find_session("one", at(9.9)) == ann
    assert await keys.find_session("one", at(10)) is None
    await keys.end_session("two")
    await keys.end_session("never opened")
    assert await keys.find_session("two", at(1)) is None
    assert await keys.forget_sessions(at(10), 100) == 1
    assert await keys.forget_sessions(at(10), 100) == 0
    assert await keys.find_session("late", at(10)) == ann
    await keys.revoke("ann", at(11))
    assert await keys.find_session("late", at(11)) is None
    await keys.open_session("after", ann, at(30))
    assert await keys.find_session("after", at(12)) is None


async def test_a_session_that_ends_rings_with_its_sum(backend: Backend) -> None:
    keys, ann = await backend.keys(), key("ann")
    await keys.add(ann, "sum of ann")
    for name in ("signed out", "expired"):
        await keys.open_session(name, ann, at(10))
    ended = backend.hub.listen(Bell.REVOKED)
    await keys.end_session("signed out")
    assert await ended.wait(1) == {"signed out"}
    await keys.forget_sessions(at(10), 100)
    assert await ended.wait(1) == {"expired"}


async def test_a_keys_sessions_are_limited_and_the_oldest_is_evicted(backend: Backend) -> None:
    keys, ann, bob = await backend.keys(), key("ann"), key("bob")
    await keys.add(ann, "sum")
    await keys.add(bob, "sum of bob")
    await keys.open_session("of bob", bob, at(1))
    for number in range(MOST_SESSIONS_PER_KEY + 2):
        await keys.open_session(f"session {number}", ann, at(10 + number))

    async def found() -> list[bool]:
        numbers = (0, 1, 2, MOST_SESSIONS_PER_KEY + 1)
        return [await keys.find_session(f"session {number}", at(0)) == ann for number in numbers]

    assert await found() == [False, False, True, True]
    assert await keys.find_session("of bob", at(0)) == bob
    await backend.crash()
    await backend.open()
    keys = await backend.keys()
    assert await found() == [False, False, True, True]
    await keys.open_session("one more", ann, at(99_999))
    assert await found() == [False, False, False, True]
    await keys.revoke("ann", at(1))
    assert await found() == [False, False, False, False]
    assert await keys.find_session("of bob", at(0)) == bob


async def test_keys_sessions_and_the_secret_survive_a_crash(backend: Backend) -> None:
    keys, ann, bob = await backend.keys(), key("ann"), key("bob")
    await keys.add(ann, "sum")
    await keys.add(bob, "sum of bob")
    await keys.open_session("session", ann, at(10))
    await keys.open_session("of bob", bob, at(10))
    await keys.revoke("bob", at(1))
    secret = await keys.secret()
    assert len(secret) == 32
    await backend.crash()
    await backend.open()
    keys = await backend.keys()
    assert (await keys.find("sum"), await keys.find_session("session", at(1))) == (ann, ann)
    assert (await keys.find("sum of bob"), await keys.find_session("of bob", at(1))) == (None, None)
    assert await keys.secret() == secret


async def test_lists_over_all_owners_are_ordered_like_those_of_one(backend: Backend) -> None:
    store = backend.store
    jobs = [
        await ended_job(store, DONE, 100),
        await ended_job(store, DONE, 110, owner=STRANGER),
        await running_job(store, 120, owner=STRANGER),
        await running_job(store, 130),
        await store.insert(new_job(140)),
        await store.insert(new_job(150, owner=STRANGER)),
    ]
    newest = [job.id for job in sorted(jobs, key=lambda job: job.id, reverse=True)]
    paged: list[str] = []
    cursor = None
    while True:
        page = await store.page(EVERY_OWNER, JobFilter(), 2, cursor)
        paged = [*paged, *(job.id for job in page.jobs)]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert paged == newest
    running = JobFilter(statuses=frozenset({Status.RUNNING}))
    assert [job.id for job in (await store.page(EVERY_OWNER, running, 9, None)).jobs] == [jobs[3].id, jobs[2].id]
    active = await store.active(EVERY_OWNER, JobFilter(), 3, at(0))
    assert [job.id for job in active] == [jobs[each].id for each in (3, 2, 5, 1, 0)]
    assert sum(sum(by.values()) for by in (await store.counts(EVERY_OWNER)).by_type.values()) == len(jobs)
    for job in jobs:
        assert (await store.get(EVERY_OWNER, job.id)).id == job.id
        assert (await store.documents(EVERY_OWNER, job.id)).input_json == "{}"
    assert {job.owner for job in jobs} == {OWNER, STRANGER}
    assert (await store.cancel(EVERY_OWNER, jobs[5].id, at(200))).status is Status.CANCELLED
    assert (await store.delete_result(EVERY_OWNER, jobs[1].id, at(200))).result_bytes is None
