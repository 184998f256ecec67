"""Migrations that read what an earlier version wrote."""

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import headway.backends.sqlite
import pytest
from headway.backends.sqlite.opening import connection as opening
from headway.backends.sqlite.opening.connection import open_writer
from headway.backends.sqlite.rows import DAMAGED
from headway.domain.access import EVERY_OWNER
from headway.domain.filters import JobFilter
from headway.domain.instants import from_ms, to_ms
from headway.domain.jobs import OutputFile, Status, UploadedFile
from headway.domain.outcomes import Completed, Failed, Interrupted, Retry
from headway.domain.progress import Progress

from tests.conformance.backends import SqliteBackend
from tests.conformance.records import ERROR, OWNER, at, claim_one, claim_up_to, finish, line, new_job, running_job
from tests.support.damage import BLOB, DAMAGE, copies, put, record

SCHEMA = Path(headway.backends.sqlite.__path__[0]) / "schema"


@pytest.fixture
async def backend(tmp_path: Path) -> AsyncIterator[SqliteBackend]:
    backend = SqliteBackend(tmp_path)
    await backend.open()
    yield backend
    await backend.close()


async def test_attempts_that_were_made_before_there_was_a_record_of_them_are_found_in_the_history(
    backend: SqliteBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = backend.store
    ended = await running_job(store, max_attempts=9)
    note = line("attempt 1 failed, the next one starts in 2 s", 1)
    await store.finish(ended, Retry(ERROR, at(2)), Progress(), [note], at(1))
    second = (await claim_one(store, 2)).job
    await finish(store, second, Interrupted(), 3)
    await finish(store, (await claim_one(store, 4)).job, Completed("1"), 5)
    waiting = await running_job(store, 6)
    await finish(store, waiting, Interrupted(), 7)
    untouched = await store.insert(new_job(8))
    before = {job.id: await store.attempts(await store.get(OWNER, job.id), 0, 9) for job in (ended, waiting, untouched)}
    assert [len(found) for found in before.values()] == [3, 1, 0]
    await backend.close()
    _go_back_before(_first_with("CREATE TABLE attempts"), backend.path, tmp_path, monkeypatch)
    store = await backend.open()
    after = {job_id: await store.attempts(await store.get(OWNER, job_id), 0, 9) for job_id in before}
    assert after == {job_id: [attempt._replace(error=None) for attempt in found] for job_id, found in before.items()}


def _first_with(statement: str) -> int:
    """The number of the migration that has this statement."""
    scripts = [file.read_text("utf-8") for file in sorted(SCHEMA.iterdir())]
    return 1 + next(before for before, script in enumerate(scripts) if statement in script)


def _go_back_before(number: int, path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Move the rows into a file that was made before this migration."""
    earlier = folder / "schema"
    earlier.mkdir()
    for file in sorted(SCHEMA.iterdir())[: number - 1]:
        shutil.copy(file, earlier)
    old = folder / "old.db"
    with monkeypatch.context() as patched:
        patched.setattr(opening, "_SCHEMA", earlier)
        open_writer(old).close()
    with closing(sqlite3.connect(old, isolation_level=None)) as connection:
        connection.execute("ATTACH ? AS new", (str(path),))
        for table in ("jobs", "history", "output_files"):
            columns = ", ".join(name for _, name, *_ in connection.execute(f"PRAGMA main.table_info({table})"))
            connection.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM new.{table}")  # noqa: S608
    old.replace(path)


async def test_what_jobs_keep_is_counted_when_there_were_no_quotas_before(
    backend: SqliteBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = backend.store
    done = await running_job(store, uploads=(UploadedFile("document", "a.txt", "text/plain", 100),))
    few = (OutputFile("a", 10, "text/plain"), OutputFile("b", 20, "text/plain"))
    await finish(store, done, Completed('"é"', few), 1, lines=[line("héllo", 1)])
    many = tuple(OutputFile(f"{number:04}", 3, "text/plain") for number in range(300))
    await finish(store, await running_job(store, 2), Completed("1", many), 3)
    active = await running_job(store, 4)
    await store.checkpoint(active.id, active.attempt, '"ü"')
    await store.insert(new_job(5, owner="ada"))
    before = {owner: store.account(owner).used for owner in (OWNER, "ada")}
    assert before[OWNER].bytes == (2 + 100 + 6 + 4 + 30) + (2 + 1 + 900) + (2 + 4)
    await backend.close()
    _go_back_before(_first_with("CREATE TABLE quotas"), backend.path, tmp_path, monkeypatch)
    store = await backend.open()
    assert {owner: store.account(owner).used for owner in before} == before
    assert await backend.keeper.find_miscounts() == []


async def test_damaged_sizes_break_neither_the_migration_nor_the_count_of_others(
    backend: SqliteBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = backend.store
    for owner in ("ada", "bob", "eve"):
        job = await running_job(store, owner=owner, uploads=(UploadedFile("document", "a.txt", "text/plain", 100),))
        await finish(store, job, Completed("1", (OutputFile("a", 10, "text/plain"),)), 1)
    eve = store.account("eve").used
    await backend.close()
    _go_back_before(_first_with("CREATE TABLE quotas"), backend.path, tmp_path, monkeypatch)
    sizes = '[{"size_bytes": 9223372036854775807}, {"size_bytes": 9223372036854775807}, {"size_bytes": 1e300}, 5]'
    with closing(sqlite3.connect(backend.path)) as file, file:
        file.execute("UPDATE jobs SET uploads = ?, result_bytes = 9223372036854775807 WHERE owner = 'ada'", (sizes,))
        file.execute("UPDATE jobs SET files = ? WHERE owner = 'bob'", (sizes.replace("9", "-9"),))
    store = await backend.open()
    assert store.account("eve").used == eve
    assert store.account("ada").used.bytes == 2 + 2**40 + 2**40 + 10
    assert store.account("bob").used.bytes == 2 + 100 + 1 + 2**40
    (found,) = await backend.keeper.find_miscounts()
    assert found.endswith(f"it keeps {2 + 2**40 + 1 + 10:,}"), "ada's result has one byte"


async def test_jobs_that_were_queued_before_owners_took_turns_get_theirs(
    backend: SqliteBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = backend.store
    for owner, count in (("ada", 3), ("bob", 2)):
        await asyncio.gather(*(store.insert(new_job(owner=owner)) for _ in range(count)))
    later = await store.insert(new_job(owner="bob", run_at=datetime.now(UTC) + timedelta(days=9)))
    await backend.close()
    _go_back_before(_first_with("ADD COLUMN turn"), backend.path, tmp_path, monkeypatch)
    store = await backend.open()
    await store.insert(new_job(owner="eve"))
    claims = await claim_up_to(store, {"report": 9}, 9, seconds=1)
    assert [claim.job.owner for claim in claims.claims] == ["ada", "bob", "eve", "ada", "bob", "ada"]
    assert claims.next_run_at == from_ms(to_ms(later.run_at))


async def test_jobs_that_had_metadata_before_lists_knew_it_are_found_by_it(
    backend: SqliteBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = backend.store
    jobs = [await store.insert(new_job(metadata=(("order", "4711"), ("état", "ü")))) for _ in range(2)]
    damaged = await store.insert(new_job(metadata=(("order", "4711"),)))
    await store.insert(new_job())
    await backend.close()
    _go_back_before(_first_with("CREATE TABLE job_metadata"), backend.path, tmp_path, monkeypatch)
    with closing(sqlite3.connect(backend.path)) as file, file:
        file.execute("UPDATE jobs SET metadata = '{\"order' WHERE id = ?", (damaged.id,))
    store = await backend.open()
    for metadata in ({("order", "4711")}, {("order", "4711"), ("état", "ü")}):
        page = await store.page(OWNER, JobFilter(metadata=frozenset(metadata)), 9, None)
        assert [job.id for job in page.jobs] == [job.id for job in reversed(jobs)]


async def test_jobs_from_before_lists_were_searched_are_found_by_their_words(
    backend: SqliteBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = backend.store
    named = await store.insert(new_job(label="Sales of März", run_at=at(900)))
    done = await running_job(store, 1)
    await finish(store, done, Completed("1"), 2, progress=Progress(message="Sold in märz"))
    damaged = await store.insert(new_job(label="März"))
    await backend.close()
    _go_back_before(_first_with("CREATE TABLE job_words"), backend.path, tmp_path, monkeypatch)
    with closing(sqlite3.connect(backend.path)) as file, file:
        file.execute("UPDATE jobs SET label = CAST(x'6d80' AS TEXT) WHERE id = ?", (damaged.id,))
    store = await backend.open()
    page = await store.page(OWNER, JobFilter(terms=frozenset({"märz"})), 9, None)
    assert [job.id for job in page.jobs] == [done.id, named.id]


@pytest.mark.parametrize("migration", ["CREATE TABLE attempts", "CREATE TABLE quotas", "ADD COLUMN turn"])
async def test_damaged_rows_are_repaired_before_a_migration_that_has_to_change_them(
    backend: SqliteBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, migration: str
) -> None:
    store = backend.store
    whole = await finish(store, await running_job(store), Completed("1"), 1)
    failed = await finish(store, await running_job(store), Failed(ERROR), 1, lines=[line("a line", 1)])
    running, queued = await running_job(store, 2), await store.insert(new_job(3))
    before = [await store.get(OWNER, each.id) for each in (whole, failed)]
    await backend.close()
    _go_back_before(_first_with(migration), backend.path, tmp_path, monkeypatch)
    with record(backend.path.parent, backend.path.name) as file:
        columns = {name for _, name, *_ in file.execute("PRAGMA table_info(jobs)")}
        damage = [(column, value) for column, value in DAMAGE if column in columns]  # others came later
        damaged = {each.id: copies(file, each.id, len(damage)) for each in (whole, failed, running, queued)}
        for made in damaged.values():
            for job_id, (column, value) in zip(made, damage, strict=True):
                put(file, f"jobs.{column}", value, job_id)
        file.execute("UPDATE history SET at = ?, message = ? WHERE job_id = ?", (BLOB, BLOB, damaged[failed.id][0]))
    store = await backend.open()
    assert [await store.get(OWNER, each.id) for each in (whole, failed)] == before
    await store.recover(at(4), 3)
    found = {job_id: [await store.get(EVERY_OWNER, each) for each in made] for job_id, made in damaged.items()}
    assert {job.status for job in found[queued.id]} == {Status.QUEUED, Status.FAILED}
    assert {job.status for job in found[whole.id]} == {Status.COMPLETED, Status.FAILED}
    assert {job.status for job in found[failed.id]} == {Status.FAILED}
    unreadable = damage.index(("status", BLOB))
    assert {made[unreadable].error for made in found.values()} == {DAMAGED, ERROR}
    lost = damage.index(("input", BLOB))
    assert (found[running.id][lost].status, found[running.id][lost].error) == (Status.FAILED, DAMAGED)
    assert await store.expire(datetime.now(UTC) + timedelta(days=36_500), 9_999) >= 2 * len(damage)
