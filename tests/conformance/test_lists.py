"""`Reader.page`, `active` and `counts`: many jobs at a time."""

import asyncio
from datetime import UTC, datetime, timedelta, timezone

import pytest
from headway.domain.filters import JobFilter
from headway.domain.jobs import Job, Status
from headway.domain.outcomes import Interrupted
from headway.ports.jobs import JobStore

from tests.conformance.backends import Backend
from tests.conformance.records import (
    BROKEN,
    DONE,
    OWNER,
    STRANGER,
    UNKNOWN_ID,
    at,
    claim_one,
    ended_job,
    insert_many,
    new_job,
    running_job,
    tick,
)


async def zoo(store: JobStore) -> dict[str, Job]:
    """Jobs of every kind, a second apart."""
    return {
        "completed": await ended_job(store, DONE, 100, label="red"),
        "failed": await ended_job(store, BROKEN, 110, type="import"),
        "running": await running_job(store, 2, label="blue"),
        "import": await running_job(store, 3, type="import", label="red"),
        "queued": await store.insert(new_job(4, label="red")),
        "other": await store.insert(new_job(5, owner=STRANGER, label="red")),
    }


async def names(store: JobStore, jobs: dict[str, Job], **chosen: object) -> set[str]:
    wanted = JobFilter(**chosen)  # type: ignore[arg-type]
    page = await store.page(OWNER, wanted, 100, None)
    assert page.next_cursor is None
    assert [job.id for job in page.jobs] == sorted((job.id for job in page.jobs), reverse=True)
    named = {job.id: name for name, job in jobs.items()}
    found = {named[job.id] for job in page.jobs}
    assert found == {name for name, job in jobs.items() if job.owner == OWNER and wanted.matches(job)}
    return found


async def test_each_filter_alone_and_together(store: JobStore) -> None:
    jobs = await zoo(store)
    assert await names(store, jobs) == jobs.keys() - {"other"}
    assert await names(store, jobs, statuses=frozenset({Status.RUNNING})) == {"running", "import"}
    assert await names(store, jobs, statuses=frozenset({Status.QUEUED, Status.FAILED})) == {"queued", "failed"}
    assert await names(store, jobs, types=frozenset({"import"})) == {"failed", "import"}
    assert await names(store, jobs, types=frozenset({"import", "report"}), label="red") == {
        "completed",
        "import",
        "queued",
    }
    assert await names(store, jobs, label="RED") == set()
    assert await names(store, jobs, ids=frozenset({jobs["running"].id, jobs["other"].id, UNKNOWN_ID})) == {"running"}
    assert await names(store, jobs, ids=frozenset({jobs["running"].id, jobs["queued"].id}), created_after=at(3)) == {
        "queued"
    }
    certain = JobFilter(ids=frozenset(job.id for job in jobs.values()), label="red")
    first = await store.page(OWNER, certain, 2, None)
    rest = await store.page(OWNER, certain, 2, first.next_cursor)
    assert [job.id for job in (*first.jobs, *rest.jobs)] == [
        jobs[name].id for name in ("queued", "import", "completed")
    ]
    assert await names(store, jobs, types=frozenset({"' OR 1=1 --"})) == set()
    assert (
        await names(
            store,
            jobs,
            statuses=frozenset({Status.RUNNING}),
            types=frozenset({"import"}),
            label="red",
            created_after=at(2.5),
            created_before=at(3.5),
        )
    ) == {"import"}


@pytest.mark.parametrize("fraction_ms", [-1, -0.5, 0, 0.5, 1])
async def test_creation_times_are_compared_exactly(store: JobStore, fraction_ms: float) -> None:
    jobs = {"one": await store.insert(new_job(1)), "two": await store.insert(new_job(2))}
    moment = at(1) + timedelta(milliseconds=fraction_ms)
    await names(store, jobs, created_after=moment)
    await names(store, jobs, created_before=moment)
    await names(store, jobs, created_before=moment.astimezone(timezone(timedelta(hours=5, minutes=30))))


@pytest.mark.parametrize("moment", [datetime.min, datetime.max, datetime(1969, 12, 31)])  # noqa: DTZ001, DTZ901
async def test_a_creation_time_filter_accepts_any_instant(store: JobStore, moment: datetime) -> None:
    jobs = {"one": await store.insert(new_job(1))}
    await names(store, jobs, created_after=moment.replace(tzinfo=UTC))
    await names(store, jobs, created_before=moment.replace(tzinfo=UTC))


async def test_pages_show_each_job_once_while_jobs_are_inserted(store: JobStore) -> None:
    jobs = await insert_many(store, 23)
    seen: list[str] = []
    cursor: str | None = None
    pages = 0
    while pages == 0 or cursor is not None:
        page = await store.page(OWNER, JobFilter(), 5, cursor)
        seen += [job.id for job in page.jobs]
        cursor = page.next_cursor
        pages += 1
        await insert_many(store, 2)  # newer than the first page
    assert seen == sorted((job.id for job in jobs), reverse=True)
    assert pages == 5


async def test_the_last_full_page_is_known_to_be_the_last(store: JobStore) -> None:
    await insert_many(store, 10)
    first = await store.page(OWNER, JobFilter(), 5, None)
    assert (await store.page(OWNER, JobFilter(), 5, first.next_cursor)).next_cursor is None


async def test_a_cursor_outlives_the_job_it_names(store: JobStore) -> None:
    await insert_many(store, 6)
    page = await store.page(OWNER, JobFilter(), 3, None)
    assert page.next_cursor is not None
    await store.delete(OWNER, page.next_cursor, at(1))
    assert len((await store.page(OWNER, JobFilter(), 3, page.next_cursor)).jobs) == 3


@pytest.mark.parametrize("cursor", ["", "x", "\0", UNKNOWN_ID.upper() + "A", "' OR 1", UNKNOWN_ID + "\n", "é" * 5000])
async def test_a_cursor_that_this_store_did_not_make_is_refused(store: JobStore, cursor: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the message is the cursor
        await store.page(OWNER, JobFilter(), 5, cursor)


async def test_a_page_shows_progress_that_is_not_on_disk_yet(store: JobStore) -> None:
    job = await running_job(store)
    await tick(store, job, 10.0)  # goes to disk, the next ones stay in memory
    await tick(store, job, 20.0)
    (listed,) = (await store.page(OWNER, JobFilter(), 5, None)).jobs
    assert listed == await store.get(OWNER, job.id)
    assert listed.progress.percent == 20.0


async def test_lists_match_their_filter_while_jobs_change_state(store: JobStore) -> None:
    """A row from disk may be older than memory, and memory older than the disk."""
    running = frozenset({Status.RUNNING})

    async def live() -> None:
        for _ in range(30):
            job = await running_job(store)
            await tick(store, job, 5.0)
            await store.finish(job, DONE, job.progress, [], at(1))

    living = asyncio.create_task(live())
    while not living.done():
        for listed in (
            (await store.page(OWNER, JobFilter(statuses=running), 100, None)).jobs,
            await store.active(OWNER, JobFilter(statuses=running), 100, at(100)),
        ):
            assert all(job.status is Status.RUNNING for job in listed)
        ended = await store.page(OWNER, JobFilter(statuses=frozenset({Status.COMPLETED})), 100, None)
        assert all(job.status is Status.COMPLETED for job in ended.jobs)
    await living


async def test_active_jobs_are_running_then_queued_then_recently_ended(store: JobStore) -> None:
    jobs = await zoo(store)

    async def active(limit: int, since: float, **chosen: object) -> list[str]:
        found = await store.active(OWNER, JobFilter(**chosen), limit, at(since))  # type: ignore[arg-type]
        named = {job.id: name for name, job in jobs.items()}
        return [named[job.id] for job in found]

    assert await active(10, 0) == ["import", "running", "queued", "failed", "completed"]
    assert await active(10, 105) == ["import", "running", "queued", "failed"]
    assert await active(10, 110) == ["import", "running", "queued"]
    assert await active(1, 110) == ["import"]
    assert await active(2, 110) == ["import", "running"]
    assert await active(2, 105) == ["import", "running", "failed"]
    assert await active(10, 0, label="red") == ["import", "queued", "completed"]
    assert await active(10, 0, statuses=frozenset({Status.QUEUED})) == ["queued"]
    assert await active(10, 0, statuses=frozenset({Status.COMPLETED})) == ["completed"]
    assert await active(10, 0, ids=frozenset({jobs["failed"].id})) == ["failed"]


async def test_no_active_job_is_missed_while_it_changes_its_state(store: JobStore) -> None:
    """It takes one query, not one for each state: a job that is claimed in between would be in neither."""
    job = await running_job(store)
    moving = True

    async def move() -> None:
        current = job
        for _ in range(60):
            await store.finish(current, Interrupted(), current.progress, [], at(1))
            current = (await claim_one(store, 1)).job
        nonlocal moving
        moving = False

    mover = asyncio.create_task(move())
    while moving:
        assert [found.id for found in await store.active(OWNER, JobFilter(), 10, at(0))] == [job.id]
    await mover


async def test_counts_are_by_type_and_status_and_owner(backend: Backend) -> None:
    await zoo(backend.store)
    expected = {
        "report": {Status.COMPLETED: 1, Status.RUNNING: 1, Status.QUEUED: 1},
        "import": {Status.FAILED: 1, Status.RUNNING: 1},
    }
    assert (await backend.store.counts(OWNER)).by_type == expected
    assert (await backend.store.counts(STRANGER)).by_type == {"report": {Status.QUEUED: 1}}
    await backend.close()
    store = await backend.open()
    assert (await store.counts(OWNER)).by_type == expected
