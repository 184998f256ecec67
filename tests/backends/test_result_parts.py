"""Large results in the SQLite file: in parts between which others write, and which never outlast their job."""

import asyncio
import sqlite3
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest
from headway.backends.sqlite.results.parts import PART_BYTES
from headway.domain.jobs import Job
from headway.domain.outcomes import Completed
from headway.errors import ClaimLostError

from tests.conformance.backends import SqliteBackend
from tests.conformance.records import BROKEN, DAY_S, OWNER, at, ended_job, finish, new_job, running_job

PARTS = 5
LARGE = Completed(f'"{"ü" * (PART_BYTES * PARTS // 2 - 1)}"')


def parts_of(backend: SqliteBackend) -> list[tuple[str, int, int]]:
    """The job, the attempt and the number of each part in the file."""
    with closing(sqlite3.connect(f"file:{backend.path}?mode=ro", uri=True)) as connection:
        return connection.execute("SELECT job_id, attempt, number FROM result_parts ORDER BY 1, 2, 3").fetchall()


async def deleted(backend: SqliteBackend, parts: int = 0) -> None:
    """Once so many parts are left. Each commit of the writer deletes one."""
    for _ in range(10 * PARTS):
        if len(parts_of(backend)) <= parts:
            return
        await backend.store.check_writable()
    pytest.fail("the parts are not deleted")


async def result_json(backend: SqliteBackend, job: Job) -> str | None:
    return (await backend.store.documents(OWNER, job.id)).result_json


async def changed(backend: SqliteBackend, statement: str) -> None:
    with closing(sqlite3.connect(backend.path)) as connection:
        connection.execute(statement)
        connection.commit()


async def test_others_write_between_two_parts(backend: SqliteBackend) -> None:
    job = await running_job(backend.store)
    ending = asyncio.create_task(finish(backend.store, job, LARGE))
    seen: list[int] = []
    while not ending.done():
        await backend.store.insert(new_job())
        seen.append(len(parts_of(backend)))
    assert set(range(1, PARTS)) <= set(seen)  # each of them was alone in its transaction
    assert (await ending).status == "completed"


async def test_results_that_are_kept_at_the_same_time_take_turns(backend: SqliteBackend) -> None:
    jobs = [await running_job(backend.store) for _ in range(3)]
    ending = [asyncio.create_task(finish(backend.store, job, LARGE)) for job in jobs]
    counts: list[int] = []
    while not all(task.done() for task in ending):
        await backend.store.check_writable()
        counts.append(len(parts_of(backend)))
    assert max(after - before for before, after in pairwise(counts)) == 1


async def test_what_a_crash_leaves_of_a_result_is_deleted_after_the_start(backend: SqliteBackend) -> None:
    kept = await ended_job(backend.store, LARGE)
    job = await running_job(backend.store)
    ending = asyncio.create_task(finish(backend.store, job, LARGE))
    while len(parts_of(backend)) < PARTS + 2:
        await backend.store.check_writable()
    await backend.crash()
    await asyncio.gather(ending, return_exceptions=True)
    left = parts_of(backend)
    assert PARTS + 2 <= len(left) < 2 * PARTS

    await backend.open()
    recovery = await backend.store.recover(at(2), 5)
    assert [requeued.id for requeued in recovery.requeued] == [job.id]
    await backend.store.discard_orphaned_results()
    await deleted(backend, PARTS)
    assert {job_id for job_id, _, _ in parts_of(backend)} == {kept.id}
    assert await result_json(backend, kept) == LARGE.result_json


@pytest.mark.parametrize("way", ["delete", "delete_result", "expire", "cancel", "purge while it runs"])
async def test_no_part_outlasts_its_result(backend: SqliteBackend, way: str) -> None:
    store = backend.store
    other = await ended_job(store, LARGE, retain_s=9 * DAY_S)
    job = await running_job(store, retain_s=60.0)
    if way == "cancel":
        await store.cancel(OWNER, job.id, at(1))
    elif way == "purge while it runs":
        await store.delete(OWNER, job.id, at(1))
    await finish(store, job, LARGE, 2)
    match way:
        case "expire":
            assert await store.expire(at(DAY_S), 10) == 1
        case "delete" | "delete_result":
            await getattr(store, way)(OWNER, job.id, at(3))
    await deleted(backend, PARTS)
    assert {job_id for job_id, _, _ in parts_of(backend)} == {other.id}


async def test_an_attempt_that_is_lost_while_its_result_is_written_leaves_no_part(backend: SqliteBackend) -> None:
    job = await running_job(backend.store)
    ending = asyncio.create_task(finish(backend.store, job, LARGE))
    while len(parts_of(backend)) < 2:
        await backend.store.check_writable()
    await finish(backend.store, job, BROKEN)
    with pytest.raises(ClaimLostError):
        await ending
    await deleted(backend)


async def test_a_deletion_frees_one_part_at_a_time(backend: SqliteBackend) -> None:
    job = await ended_job(backend.store, LARGE)
    await backend.store.delete(OWNER, job.id, at(2))
    counts = [len(parts_of(backend))]
    while counts[-1]:
        await backend.store.check_writable()
        counts.append(len(parts_of(backend)))
    assert max(before - after for before, after in pairwise(counts)) == 1


async def test_a_large_result_that_is_deleted_just_before_the_end_is_deleted_by_the_next_server(
    backend: SqliteBackend,
) -> None:
    job = await ended_job(backend.store, LARGE)
    await backend.store.delete(OWNER, job.id, at(2))
    await backend.close()
    await backend.open()
    await backend.store.discard_orphaned_results()
    await deleted(backend)


async def test_a_result_that_is_being_kept_is_no_orphan(backend: SqliteBackend) -> None:
    job = await running_job(backend.store)
    ending = asyncio.create_task(finish(backend.store, job, LARGE))
    while len(parts_of(backend)) < 2:
        await backend.store.check_writable()
    await backend.store.discard_orphaned_results()
    assert (await ending).status == "completed"
    assert await result_json(backend, job) == LARGE.result_json


async def test_what_a_completed_job_has_is_never_deleted_as_unused(backend: SqliteBackend) -> None:
    job = await ended_job(backend.store, LARGE)
    backend.store._results.discard_unused(job)
    for _ in range(3):
        await backend.store.check_writable()
    assert len(parts_of(backend)) == PARTS


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM result_parts",
        "DELETE FROM result_parts WHERE number = 0",
        "DELETE FROM result_parts WHERE number = 2",
        "DELETE FROM result_parts WHERE number = (SELECT max(number) FROM result_parts)",
        "UPDATE result_parts SET content = substr(content, 2) WHERE number = 1",
        "UPDATE result_parts SET content = zeroblob(length(content)) WHERE number = 1",
        "UPDATE result_parts SET crc32 = 0 WHERE number = 1",
        "UPDATE jobs SET result_bytes = result_bytes - 1",
    ],
)
async def test_a_damaged_result_is_not_served_in_part_and_doctor_finds_what_is_missing(
    backend: SqliteBackend, damage: str
) -> None:
    job = await ended_job(backend.store, LARGE)
    await changed(backend, damage)
    assert await result_json(backend, job) is None
    assert (await backend.store.documents(OWNER, job.id)).input_json == "{}"
    if damage.startswith("DELETE"):
        (fault,) = await backend.keeper.find_miscounts()
        assert job.id in fault


async def test_a_large_result_of_before_is_still_read(backend: SqliteBackend) -> None:
    job = await ended_job(backend.store, LARGE)
    with closing(sqlite3.connect(backend.path)) as connection:
        connection.execute("UPDATE jobs SET result = ?", (LARGE.result_json,))
        connection.execute("DELETE FROM result_parts")
        connection.commit()
    assert await result_json(backend, job) == LARGE.result_json
    assert await backend.keeper.find_miscounts() == []
    await backend.store.delete(OWNER, job.id, at(2))
    assert await backend.store.existing([job.id]) == frozenset()


async def test_a_backup_has_the_results_of_its_moment(backend: SqliteBackend, tmp_path: Path) -> None:
    job = await ended_job(backend.store, LARGE)
    unfinished = await running_job(backend.store)
    ending = asyncio.create_task(finish(backend.store, unfinished, LARGE))
    while len(parts_of(backend)) == PARTS:
        await backend.store.check_writable()
    restored = SqliteBackend(tmp_path / "restored")
    restored.path.parent.mkdir()
    await backend.keeper.copy_to(restored.path)
    await ending
    await backend.store.delete(OWNER, job.id, at(2))
    store = await restored.open()
    assert await result_json(restored, job) == LARGE.result_json
    await store.recover(at(3), 5)
    await store.discard_orphaned_results()
    await deleted(restored, PARTS * len([each for each in (job, unfinished) if await result_json(restored, each)]))
    assert await restored.keeper.find_miscounts() == []
    await restored.close()
