"""How SQLite reads lists: by an index of the order or of a filter, which is read no further than it has to be."""

import sqlite3
from contextlib import closing
from typing import Any

import pytest
from headway.backends.sqlite.listing import pages
from headway.backends.sqlite.listing.pages import Statement, boundary, choosing, counting, page
from headway.backends.sqlite.listing.walks import (
    Walk,
    Wanted,
    of_filter,
    of_ids,
    of_order,
    of_times,
    of_update,
    of_words,
)
from headway.backends.sqlite.listing.words import BEGINS_WORD, begins_word
from headway.domain.access import EVERY_OWNER
from headway.domain.filters import NEWEST_FIRST, ORDERS, Cursor, JobFilter, Order, SortKey
from headway.domain.jobs import Status
from headway.domain.progress import Progress

from tests.conformance.backends import SqliteBackend
from tests.conformance.records import OWNER, STRANGER, UNKNOWN_ID, at, finish, insert_many, new_job, running_job
from tests.conformance.test_edits import edit
from tests.conformance.test_sorted_lists import FILTERS, all_pages, expected, mixed

CERTAIN = frozenset({UNKNOWN_ID})
MORE: dict[str, dict[str, Any]] = {
    "nothing": {},
    "status": {"statuses": frozenset({Status.QUEUED, Status.RUNNING})},
    "type": {"types": frozenset({"report"})},
    "label": {"label": "red"},
    "metadata": {"metadata": frozenset({("order", "4711"), ("customer", "Ada")})},
    "after": {"created_after": at(1)},
    "before": {"created_before": at(2)},
    "updated": {"updated_after": at(2)},
    "words": {"terms": frozenset({"imported", "row*"})},
    "all": {"statuses": frozenset({Status.QUEUED}), "types": frozenset({"a"}), "label": "b", "created_after": at(1)},
}


def cursor_of(order: Order) -> Cursor:
    return Cursor(order, None if order.key is SortKey.CREATED else 1, UNKNOWN_ID)


ORDERS_AND_CURSORS = [(order, after) for order in ORDERS for after in (None, cursor_of(order))]


def plan_of(backend: SqliteBackend, statement: Statement) -> list[str]:
    with closing(sqlite3.connect(backend.path)) as connection:
        connection.create_function(BEGINS_WORD, 3, begins_word, deterministic=True)
        found = connection.execute(f"EXPLAIN QUERY PLAN {statement.sql}", statement.parameters).fetchall()
    return [detail for *_, detail in found]


def assert_seeks(plan: list[str]) -> None:
    """No table or index is read from its beginning, and nothing is sorted."""
    assert not [step for step in plan if step.startswith("SCAN") and ("jobs" in step or "had" in step)], plan
    assert not [step for step in plan if "B-TREE" in step], plan


@pytest.mark.parametrize("more", MORE.values(), ids=MORE.keys())
async def test_certain_jobs_are_found_by_their_ids(backend: SqliteBackend, more: dict[str, Any]) -> None:
    for order, after in ORDERS_AND_CURSORS:
        wanted = Wanted.of(JobFilter(ids=CERTAIN, **more), order)
        plan = plan_of(backend, page(OWNER, of_ids(wanted), wanted, 10, after))
        searched = [step for step in plan if "jobs_by_owner" in step]
        assert len(searched) == 1
        assert searched[0].endswith("(owner=? AND id=?)")


@pytest.mark.parametrize("more", MORE.values(), ids=MORE.keys())
async def test_a_list_is_read_in_its_order_and_only_as_far_as_its_page_goes(
    backend: SqliteBackend, more: dict[str, Any]
) -> None:
    filter = JobFilter(**more)
    for order, after in ORDERS_AND_CURSORS:
        wanted = Wanted.of(filter, order)
        by_words, wanted = of_words(wanted, {term: ["rows", "rowers"] for term in sorted(filter.terms)})
        for walk in (of_order(wanted), *([*by_words, *of_filter(filter)] if order.key is SortKey.CREATED else ())):
            assert_seeks(plan_of(backend, page(OWNER, walk, wanted, 10, after, cursor_of(order))))
            assert_seeks(plan_of(backend, boundary(OWNER, walk, wanted, after)))
        if order.key is SortKey.CREATED:
            walks = [*by_words, *of_filter(filter)] or [of_order(wanted)]
            assert_seeks(plan_of(backend, choosing(OWNER, walks, of_update(wanted), wanted, after)))
        candidates: list[Walk] = [*by_words, *of_filter(filter), *of_times(wanted)]
        if candidates:
            assert_seeks(plan_of(backend, counting(OWNER, candidates, wanted)))


async def test_short_pages_lead_to_each_job_that_matches(
    backend: SqliteBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "SCANNED", 6)
    jobs = await mixed(backend.store, 60)
    for order in ORDERS:
        for filter in FILTERS:
            found = await all_pages(backend.store, filter, order, 5)
            assert found == expected(jobs, filter, order), (str(order), filter)


async def test_a_page_examines_a_bounded_number_of_jobs(
    backend: SqliteBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "SCANNED", 10)
    store = backend.store
    await insert_many(store, 30, label="red")
    none = JobFilter(
        label="red", statuses=frozenset({Status.QUEUED}), created_before=at(9), types=frozenset({"report"})
    )
    assert len((await store.page(OWNER, none, 20, None)).jobs) == 10
    rare = JobFilter(label="red", types=frozenset({"report", *map(str, range(99))}), updated_after=at(0))
    first = await store.page(OWNER, rare, 20, None, NEWEST_FIRST)
    assert (first.jobs, first.next_cursor is None) == ([], True)


@pytest.mark.parametrize("order", [NEWEST_FIRST, Order(SortKey.CREATED, descending=False)], ids=str)
async def test_a_page_is_read_by_the_condition_that_fewest_jobs_fulfil(
    backend: SqliteBackend, monkeypatch: pytest.MonkeyPatch, order: Order
) -> None:
    monkeypatch.setattr(pages, "SCANNED", 10)
    for number in range(48):
        rare = number % 3 == 0
        more = (("b", "rare"), ("d", "rare")) if rare else ()
        await backend.store.insert(
            new_job(number, label="often seldom" if rare else "often", metadata=(("a", "all"), ("c", "all"), *more))
        )
    for filter in (
        JobFilter(metadata=frozenset({("a", "all"), ("b", "rare")})),
        JobFilter(metadata=frozenset({("c", "all"), ("b", "rare"), ("d", "rare")})),
        JobFilter(terms=frozenset({"often", "seldom"})),
        JobFilter(terms=frozenset({"often"}), metadata=frozenset({("a", "all"), ("d", "rare")})),
    ):
        page = await backend.store.page(OWNER, filter, 9, None, order)
        assert len(page.jobs) == 9, filter


async def test_short_pages_of_several_owners_leave_out_none_of_their_jobs(
    backend: SqliteBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the search was given up for one owner, those of another that come later have to wait."""
    monkeypatch.setattr(pages, "SCANNED", 6)
    jobs = await mixed(backend.store, 40)
    for number in range(30):
        jobs.append(await backend.store.insert(new_job(number, owner=STRANGER, label="red", run_at=at(9e6))))
    rare = JobFilter(label="red", statuses=frozenset({Status.QUEUED}), types=frozenset({"report", "import"}))
    for order in ORDERS:
        found = await all_pages(backend.store, rare, order, 5, EVERY_OWNER)
        assert found == expected(jobs, rare, order), str(order)


async def test_the_indexes_of_metadata_and_words_keep_nothing_of_what_is_gone(backend: SqliteBackend) -> None:
    job = await running_job(backend.store, label="first", metadata=(("order", "1"), ("env", "a")))
    await finish(backend.store, job, progress=Progress(message="last words"))
    await edit(backend.store, job.id, label="second", metadata=(("order", "2"),))
    assert await indexed(backend) == (["last", "second", "words"], [("order", "2")])
    await backend.store.delete(OWNER, job.id, at(2))
    assert await indexed(backend) == ([], [])


async def indexed(backend: SqliteBackend) -> tuple[list[str], list[tuple[str, str]]]:
    with closing(sqlite3.connect(backend.path)) as connection:
        words = [word for (word,) in connection.execute("SELECT word FROM job_words ORDER BY 1")]
        return words, connection.execute("SELECT name, value FROM job_metadata ORDER BY 1, 2").fetchall()
