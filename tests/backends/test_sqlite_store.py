"""What only the embedded store can get wrong: its memory and its file, at moments that the test forces."""

import asyncio
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
from headway.backends.memory import snapshots
from headway.backends.memory.mirror import Mirror
from headway.backends.sqlite import reading, rows
from headway.backends.sqlite.store import SqliteStore
from headway.domain.deliveries import Webhook, WebhookEvent
from headway.domain.filters import JobFilter
from headway.domain.jobs import Job, Status
from headway.domain.outcomes import Interrupted
from headway.domain.progress import Progress
from headway.errors import JobNotFoundError
from headway.ports.jobs import Tick
from headway.ports.outbox import Limits

from tests.conformance.backends import SqliteBackend
from tests.conformance.records import (
    DONE,
    OWNER,
    at,
    claim_one,
    ended_job,
    finish,
    insert_many,
    new_job,
    running_job,
    tick,
)
from tests.conformance.walk import Walk


@pytest.fixture
def store(backend: SqliteBackend) -> SqliteStore:
    return backend.store


@pytest.mark.parametrize("seed", range(100, 104))
async def test_a_random_walk_agrees_with_the_model_when_memory_holds_almost_nothing(
    backend: SqliteBackend, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "MAX_RECENT", 2)
    await Walk(backend, seed).walk()


async def test_others_have_their_turn_while_many_rows_become_jobs(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await insert_many(store, 100)
    turn, at_turns = 0, []

    async def count() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    def to_job(row: rows.Row) -> Job:
        at_turns.append(turn)
        return rows.to_job(row)

    monkeypatch.setattr(reading, "to_job", to_job)
    counting = asyncio.create_task(count())
    page = await store.page(OWNER, JobFilter(), 100, None)
    counting.cancel()
    assert len(page.jobs) == len(at_turns) == 100
    assert max(Counter(at_turns).values()) <= 25


async def test_memory_is_bounded(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "MAX_RECENT", 10)
    monkeypatch.setattr(snapshots, "MAX_DEPARTED", 5)
    jobs = await insert_many(store, 50)
    assert len(store._snapshots._recent) == 10
    for job in jobs:
        assert await store.get(OWNER, job.id) == job
    assert len(store._snapshots._recent) == 10
    for job in jobs[:20]:
        await store.delete(OWNER, job.id, at(1))
    assert len(store._snapshots._departed) == 5
    assert not store._snapshots._loading
    assert not store._mirror._ending


async def test_a_recently_read_job_is_evicted_last(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "MAX_RECENT", 3)
    first, *_ = await insert_many(store, 3)
    await store.get(OWNER, first.id)
    await insert_many(store, 2)
    assert first.id in store._snapshots._recent


async def test_a_list_is_not_older_than_the_disk(store: SqliteStore) -> None:
    """A reader sees a commit a moment before memory is up to date."""
    running = await running_job(store)
    ended = await finish(store, running, DONE)
    store._snapshots.put(running)
    listed = await store.page(OWNER, JobFilter(statuses=frozenset({Status.COMPLETED})), 5, None)
    assert listed.jobs == [ended]


async def test_a_job_deleted_while_it_is_read_does_not_reappear(
    backend: SqliteBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await ended_job(backend.store)
    await backend.close()
    store = await backend.open()
    real = store._database.one

    async def one(sql: str, parameters: dict[str, Any]) -> tuple[Any, ...] | None:
        row = await real(sql, parameters)
        if row is not None:
            await store.delete(OWNER, job.id, at(9))
        return row

    monkeypatch.setattr(store._database, "one", one)
    for _ in range(2):
        with pytest.raises(JobNotFoundError):
            await store.get(OWNER, job.id)
    assert not store._snapshots._loading


async def test_a_cancelled_read_leaves_no_trace(backend: SqliteBackend) -> None:
    job = await backend.store.insert(new_job())
    await backend.close()
    store = await backend.open()
    reading = asyncio.create_task(store.get(OWNER, job.id))
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert not store._snapshots._loading
    assert await store.get(OWNER, job.id) == job


async def test_late_progress_is_not_recorded_for_the_next_attempt(backend: SqliteBackend) -> None:
    store = backend.store
    job = await running_job(store)
    await tick(store, job, 10.0)  # goes to the disk; those of the next half second stay in memory
    await tick(store, job, 60.0)
    await store.insert(new_job(5))  # without a queued job no claim reaches the disk
    ending = asyncio.create_task(finish(store, job, Interrupted()))
    claiming = asyncio.create_task(claim_one(store, 2))
    await asyncio.sleep(0)
    store._write_ticks()  # queued after the end and the claim
    await ending
    claim = await claiming
    await store.check_writable()
    await backend.crash()
    recorded = await (await backend.open()).get(OWNER, job.id)
    assert (recorded.attempt, recorded.progress) == (2, Progress())
    assert recorded == claim.job._replace(retain_s=recorded.retain_s)


async def test_late_progress_is_not_announced_after_the_end(backend: SqliteBackend) -> None:
    store = backend.store
    job = await running_job(store, webhook=Webhook("https://receiver.example/", frozenset({WebhookEvent.PROGRESS})))
    await tick(store, job, 10.0)  # goes to the disk; the next one stays in memory
    await store.check_writable()
    (told,) = (await backend.outbox.take(at(1), Limits(9, 9, 9), 60)).messages
    await tick(store, job, 60.0)
    ending = asyncio.create_task(finish(store, job, DONE))
    await asyncio.sleep(0)
    store._write_ticks()  # queued after the end
    await ending
    await store.check_writable()
    assert [delivery.id for delivery in await backend.outbox.of_job(job.id, 9)] == [told.delivery.id]


@pytest.mark.parametrize(("jobs", "pause_s"), [(1, 0.5), (100, 0.5), (300, 0.6 / 3), (20_000, 10.0 / 200)])
async def test_the_progress_of_more_jobs_is_written_less_often_and_in_pieces(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch, jobs: int, pause_s: float
) -> None:
    clock = SimpleNamespace(now_s=1000.0)
    monkeypatch.setattr("headway.backends.sqlite.store.time", SimpleNamespace(monotonic=lambda: clock.now_s))
    job = await running_job(store)
    assert await store.flush() is None, "there is nothing to write"
    await store.tick([Tick(job.id, 1, Progress(percent=1.0))], at(1))
    assert await store.flush() is None, "the first is written at once"
    await store.tick([Tick(job.id, 1, Progress(percent=2.0))], at(2))
    monkeypatch.setattr(Mirror, "unwritten", jobs)
    assert await store.flush() == pytest.approx(pause_s)
    clock.now_s += pause_s + 0.001
    assert await store.flush() == pytest.approx(pause_s), "when the next piece may follow"
    await store.check_writable()
    row = await store._database.one("SELECT percent FROM jobs", {})
    assert row == (2.0,)
