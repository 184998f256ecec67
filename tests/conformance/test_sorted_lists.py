"""`Reader.page` in every order and with every filter: each job once, however the pages are cut."""

import random
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from headway.domain.filters import NEWEST_FIRST, ORDERS, Cursor, JobFilter, Order, SortKey
from headway.domain.instants import to_ms
from headway.domain.jobs import Job, Status
from headway.domain.progress import Progress
from headway.ports.jobs import JobStore

from tests.conformance.records import (
    BROKEN,
    DONE,
    OWNER,
    STRANGER,
    UNKNOWN_ID,
    at,
    finish,
    insert_many,
    new_job,
    running_job,
)

BY_PRIORITY = Order(SortKey.PRIORITY, descending=True)


async def mixed(store: JobStore, count: int, seed: int = 7) -> list[Job]:
    """Jobs of all kinds. Many share their priority, or the moment at which they ended."""
    chance = random.Random(seed)
    jobs: list[Job] = []
    for number in range(count):
        chosen: dict[str, Any] = {
            "priority": chance.choice((-5, 0, 0, 0, 3)),
            "label": chance.choice((None, "red", "blue")),
            "type": chance.choice(("report", "import")),
            "metadata": (("order", str(number % 3)), ("env", chance.choice("ab"))) if number % 2 else (),
        }
        if chance.random() < 0.5:
            jobs.append(await store.insert(new_job(number, run_at=at(9e6), **chosen)))
            continue
        job = await running_job(store, number, **chosen)
        said = Progress(message=f"Imported {number} of {chance.choice(('rows', 'rowers'))}")
        jobs.append(await finish(store, job, chance.choice((DONE, BROKEN)), number + chance.randrange(3), said))
    return jobs


def value_of(job: Job, order: Order) -> tuple[int, str]:
    match order.key:
        case SortKey.CREATED:
            return 0, job.id
        case SortKey.UPDATED:
            return to_ms(job.updated_at), job.id
        case SortKey.ENDED:
            return to_ms(job.completed_at or at(0)), job.id
        case SortKey.PRIORITY:
            return job.priority, job.id


async def all_pages(store: JobStore, filter: JobFilter, order: Order, limit: int, caller: str = OWNER) -> list[str]:
    found: list[str] = []
    cursor: str | None = None
    for _ in range(500):
        page = await store.page(caller, filter, limit, cursor, order)
        assert len(page.jobs) <= limit
        found += [job.id for job in page.jobs]
        cursor = page.next_cursor
        if cursor is None:
            return found
    raise AssertionError("the pages have no end")


def expected(jobs: Sequence[Job], filter: JobFilter, order: Order) -> list[str]:
    listed = [
        job for job in jobs if filter.matches(job) and (order.key is not SortKey.ENDED or job.completed_at is not None)
    ]
    return [job.id for job in sorted(listed, key=lambda job: value_of(job, order), reverse=order.descending)]


FILTERS: Sequence[JobFilter] = (
    JobFilter(),
    JobFilter(statuses=frozenset({Status.QUEUED, Status.FAILED})),
    JobFilter(types=frozenset({"import"}), statuses=frozenset({Status.COMPLETED})),
    JobFilter(label="red", types=frozenset({"report", "import", "none"})),
    JobFilter(metadata=frozenset({("order", "1")})),
    JobFilter(metadata=frozenset({("order", "2"), ("env", "a")}), label="blue"),
    JobFilter(metadata=frozenset({("order", "2"), ("env", "c")})),
    JobFilter(created_after=at(20), created_before=at(60)),
    JobFilter(updated_after=at(50)),
    JobFilter(terms=frozenset({"imported"})),
    JobFilter(terms=frozenset({"imported", "red"}), statuses=frozenset({Status.COMPLETED})),
    JobFilter(terms=frozenset({"row*", "r*"})),
    JobFilter(terms=frozenset({"4*", "blue"})),
    JobFilter(terms=frozenset({"nothing"})),
    JobFilter(updated_after=at(30), statuses=frozenset({Status.COMPLETED, Status.QUEUED})),
)


async def test_each_order_shows_each_job_that_matches_once_and_in_its_place(store: JobStore) -> None:
    jobs = await mixed(store, 80)
    await store.insert(new_job(1, owner=STRANGER, label="red", metadata=(("order", "1"),)))
    certain = JobFilter(ids=frozenset(job.id for job in jobs[::3]), label="red")
    for order in ORDERS:
        for filter in (*FILTERS, certain):
            for limit in (7, 200):
                found = await all_pages(store, filter, order, limit)
                assert found == expected(jobs, filter, order), (str(order), filter, limit)


async def test_ids_are_listed_with_the_types_of_the_same_jobs(store: JobStore) -> None:
    jobs = await mixed(store, 80)
    types = {job.id: job.type for job in jobs}
    for filter in FILTERS:
        found: list[tuple[str, str]] = []
        cursor: str | None = None
        while True:
            page = await store.ids(OWNER, filter, 7, cursor)
            assert len(page.jobs) <= 7
            found += page.jobs
            if (cursor := page.next_cursor) is None:
                break
        assert found == [(job_id, types[job_id]) for job_id in expected(jobs, filter, NEWEST_FIRST)], filter


@pytest.mark.parametrize("order", ORDERS, ids=str)
async def test_pages_show_each_job_once_while_others_are_inserted_start_and_end(store: JobStore, order: Order) -> None:
    """What changes its place meanwhile may be shown in both, or be missed: in these orders only jobs that change do."""
    jobs = await mixed(store, 24)
    chance = random.Random(3)
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = await store.page(OWNER, JobFilter(), 4, cursor, order)
        seen += [job.id for job in page.jobs]
        cursor = page.next_cursor
        if cursor is None:
            break
        if len(seen) > 60:
            break  # the order is one in which newcomers follow
        moment = chance.randrange(100)
        newcomer = await running_job(store, moment, type="newcomer", priority=chance.randrange(-9, 9))
        if chance.random() < 0.5:
            await finish(store, newcomer, DONE, moment + 1)
    known = set(expected(jobs, JobFilter(), order))
    assert sorted(job_id for job_id in seen if job_id in known) == sorted(known)
    assert len(set(seen)) == len(seen)


async def test_a_cursor_belongs_to_lists_of_one_order(store: JobStore) -> None:
    await insert_many(store, 3)
    for one, other in pairwise((*ORDERS, ORDERS[0])):
        cursor = (await store.page(OWNER, JobFilter(), 1, None, one)).next_cursor
        if one.key is SortKey.ENDED:
            cursor = str(Cursor(one, 5, UNKNOWN_ID))
        assert cursor is not None
        await store.page(OWNER, JobFilter(), 1, cursor, one)
        with pytest.raises(ValueError, match=f"sorted by {one}, and this one is sorted by {other}"):
            await store.page(OWNER, JobFilter(), 1, cursor, other)


@pytest.mark.parametrize(
    "cursor",
    [
        f"-priority~{UNKNOWN_ID}",
        f"-priority~5~{UNKNOWN_ID}x",
        f"-priority~{'9' * 19}~{UNKNOWN_ID}",
        f"-priority~٣~{UNKNOWN_ID}",
        f"-createdAt~5~{UNKNOWN_ID}",
        f"-nothing~5~{UNKNOWN_ID}",
        f"createdAt~5~{UNKNOWN_ID}",
        f"-ea~{UNKNOWN_ID}",
        "-priority~5~",
    ],
)
async def test_what_only_looks_like_a_cursor_is_refused(store: JobStore, cursor: str) -> None:
    for order in (BY_PRIORITY, NEWEST_FIRST):
        with pytest.raises(ValueError, match="is not a cursor of this list"):
            await store.page(OWNER, JobFilter(), 5, cursor, order)


async def test_metadata_finds_jobs_until_they_are_deleted(store: JobStore) -> None:
    pairs = (("order", "4711"), ("customer", "Ada"))
    job = await store.insert(new_job(metadata=pairs))
    await store.insert(new_job(metadata=(("order", "4712"),)))
    wanted = JobFilter(metadata=frozenset(pairs))
    assert [found.id for found in (await store.page(OWNER, wanted, 5, None)).jobs] == [job.id]
    assert [found.id for found in await store.active(OWNER, wanted, 5, at(0))] == [job.id]
    await store.delete(OWNER, job.id, at(1))
    again = await store.insert(new_job(metadata=pairs))
    assert [found.id for found in (await store.page(OWNER, wanted, 5, None)).jobs] == [again.id]
