"""`AuditTrail`: what changes the record has its entry in the same step, and nothing else touches entries."""

import sqlite3
from datetime import timedelta

import pytest
from headway.domain.access import ApiKey
from headway.domain.audit import OPERATOR, Action, Actor, ActorKind, Entry, EntryFilter
from headway.errors import JobNotFoundError, JobStateError
from headway.ports.events import Bell

from tests.conformance.backends import Backend, SqliteBackend
from tests.conformance.records import OWNER, STRANGER, UNKNOWN_ID, at, ended_job, new_job, running_job

ANN = Actor(ActorKind.KEY, "ann", "id of ann", "192.0.2.7", "request 1")
ALL = EntryFilter()


def entry(seconds: float, action: Action = Action.SIGN_IN, by: Actor = ANN) -> Entry:
    return Entry(at(seconds), by, action, OWNER)


async def trail(backend: Backend, wanted: EntryFilter = ALL) -> list[Entry]:
    return [recorded.entry for recorded in await backend.audit.newest(wanted, 100)]


async def test_each_change_has_an_entry_that_survives_a_crash(backend: Backend) -> None:
    store, keys = backend.store, await backend.keys()
    job = await store.insert(new_job(by=ANN, label="planted label", input_json='{"planted":"input"}'))
    again = await store.insert(new_job(by=ANN, retry_of=job.id))
    await store.cancel(OWNER, job.id, at(1), ANN)
    await store.delete(OWNER, again.id, at(2), OPERATOR)
    ended = await ended_job(store)
    await store.delete_result(OWNER, ended.id, at(3), ANN)
    bob = ApiKey("id of bob", "bob's key", "bob", read_only=False, admin=False, created_at=at(4))
    await keys.add(bob, "planted sum", by=OPERATOR)
    await keys.revoke(bob.name, at(5), OPERATOR)
    await backend.outbox.rotate_secret("bob", at(6), 0, OPERATOR)
    await backend.crash()
    await backend.open()
    about_job = (OWNER, job.id, "report")
    assert await trail(backend) == [
        Entry(job.created_at, ANN, Action.SUBMIT, *about_job),
        Entry(again.created_at, ANN, Action.RETRY, OWNER, again.id, "report"),
        Entry(at(1), ANN, Action.CANCEL, *about_job),
        Entry(at(2), OPERATOR, Action.DELETE, OWNER, again.id, "report"),
        Entry(at(3), ANN, Action.DELETE_RESULT, OWNER, ended.id, "report"),
        Entry(at(4), OPERATOR, Action.CREATE_KEY, "bob", bob.id),
        Entry(at(5), OPERATOR, Action.REVOKE_KEY, "bob", bob.id),
        Entry(at(6), OPERATOR, Action.ROTATE_SECRET, "bob"),
    ]


async def test_what_is_refused_has_no_entry_of_a_change(backend: Backend) -> None:
    store = backend.store
    done = await ended_job(store)
    with pytest.raises(JobStateError):
        await store.cancel(OWNER, done.id, at(5), ANN)
    for job_id, caller in ((UNKNOWN_ID, OWNER), (done.id, STRANGER)):
        with pytest.raises(JobNotFoundError):
            await store.delete(caller, job_id, at(5), ANN)
    assert await trail(backend) == []


async def test_what_is_repeated_has_one_entry(backend: Backend) -> None:
    store = backend.store
    ended = await ended_job(store)
    queued, running = await store.insert(new_job()), await running_job(store, type="other")
    without = await store.delete_result(OWNER, ended.id, at(0), ANN)
    for attempt in range(3):
        assert await store.delete_result(OWNER, ended.id, at(attempt), ANN) == without
        await store.cancel(OWNER, queued.id, at(attempt), ANN)
        await store.cancel(OWNER, running.id, at(attempt), ANN)
    for attempt in range(3, 5):
        await store.delete(OWNER, running.id, at(attempt), ANN)
    await store.delete(OWNER, queued.id, at(5), ANN)
    assert [(entry.at, entry.action, entry.subject) for entry in await trail(backend)] == [
        (at(0), Action.DELETE_RESULT, ended.id),
        (at(0), Action.CANCEL, queued.id),
        (at(0), Action.CANCEL, running.id),
        (at(3), Action.DELETE, running.id),
        (at(5), Action.DELETE, queued.id),
    ]


async def test_entries_are_found_by_owner_actor_action_and_time(backend: Backend) -> None:
    by_program = Actor(ActorKind.PROGRAM)
    await backend.audit.append(
        [entry(1), entry(2, Action.CANCEL), entry(3, by=by_program), entry(4)._replace(owner="x")]
    )

    async def found(**wanted: object) -> list[int]:
        return [each.seq for each in await backend.audit.newest(EntryFilter(**wanted), 100)]  # type: ignore[arg-type]

    assert await found() == [1, 2, 3, 4]
    assert await found(owner="x") == [4]
    assert await found(actor="ann") == await found(actor="id of ann") == await found(actor="key") == [1, 2, 4]
    assert await found(actor="program") == [3]
    assert await found(action=Action.CANCEL) == [2]
    assert await found(since=at(3)) == [3, 4]
    assert [each.seq for each in await backend.audit.newest(ALL, 2)] == [3, 4]


async def test_a_follower_reads_every_entry_once_and_hears_of_new_ones(backend: Backend) -> None:
    cancels = EntryFilter(action=Action.CANCEL)
    await backend.audit.append([entry(1), entry(2, Action.CANCEL), entry(3)])
    entries, read_to = await backend.audit.after(cancels, 0, 10)
    assert ([each.seq for each in entries], read_to) == ([2], 3)
    assert await backend.audit.after(cancels, read_to, 10) == ([], 3)
    bell = backend.hub.listen(Bell.AUDITED)
    backend.audit.note([entry(4, Action.CANCEL), entry(5, Action.CANCEL)])
    assert await bell.wait(5)
    first, read_to = await backend.audit.after(cancels, read_to, 1)
    second, read_to = await backend.audit.after(cancels, read_to, 1)
    assert [each.seq for each in [*first, *second]] == [4, 5]


async def test_retention_deletes_the_oldest_and_never_the_newest(backend: Backend) -> None:
    await backend.audit.append([entry(second) for second in range(6)])
    assert await backend.audit.expire(at(4), 3) == 3
    assert await backend.audit.expire(at(4), 3) == 1
    assert await backend.audit.expire(at(4), 3) == 0
    assert await backend.audit.expire(at(99), 10) == 1
    assert await backend.audit.expire(at(99), 10) == 0
    await backend.audit.append([entry(7)])
    assert [each.seq for each in await backend.audit.newest(ALL, 10)] == [6, 7]


async def test_an_entry_from_a_clock_that_was_ahead_keeps_what_follows_it(backend: Backend) -> None:
    await backend.audit.append([entry(1), entry(1_000), entry(2)])
    assert await backend.audit.expire(at(10), 10) == 1
    assert await backend.audit.expire(at(10), 10) == 0
    assert await backend.audit.expire(at(1_000) + timedelta(seconds=1), 10) == 1


async def test_the_file_refuses_to_change_or_delete_entries(backend: Backend) -> None:
    await backend.audit.append([entry(1), entry(2)])
    assert isinstance(backend, SqliteBackend)
    connection = sqlite3.connect(backend.path, isolation_level=None)
    for statement in ("UPDATE audit SET outcome = 'ok'", "DELETE FROM audit", "DELETE FROM audit WHERE seq = 1"):
        with pytest.raises(sqlite3.IntegrityError, match="entries of the audit trail"):
            connection.execute(statement)
    assert await backend.record.keeper.find_faults() == []
    connection.execute("DROP TRIGGER audit_is_deleted_by_retention")
    await backend.audit.append([entry(3)])
    connection.execute("DELETE FROM audit WHERE seq = 2")
    connection.close()
    assert await backend.record.keeper.find_faults() == ["entries of the audit trail are missing: 1"]
