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
from headway.domain.instants import from_ms, to_ms
from headway.domain.jobs import OutputFile, UploadedFile
from headway.domain.outcomes import Completed, Interrupted, Retry
from headway.domain.progress import Progress

from tests.conformance.backends import SqliteBackend
from tests.conformance.records import ERROR, OWNER, at, claim_one, claim_up_to, finish, line, new_job, running_job

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
