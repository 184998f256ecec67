"""Jobs with many output files in an older file: the migration keeps them readable, page by page."""

import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import pytest
from headway.backends.sqlite import operations
from headway.backends.sqlite.opening import connection as opening
from headway.backends.sqlite.opening.connection import open_writer
from headway.domain.ids import JobIds
from headway.domain.jobs import OutputFile
from headway.domain.outcomes import Completed

from tests.conformance.backends import SqliteBackend
from tests.conformance.records import DAY_S, OWNER, at, ended_job

LAST_WITHOUT_TABLE = 7


def write_old_jobs(
    path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, jobs: dict[str, list[OutputFile]]
) -> None:
    """A file as it was before output files had a table of their own, with completed jobs."""
    schema = folder / "schema"
    schema.mkdir()
    for script in opening._migrations()[:LAST_WITHOUT_TABLE]:
        shutil.copy(script, schema)
    with monkeypatch.context() as patch, closing(_open(path, schema, patch)) as connection:
        for job_id, files in jobs.items():
            listed = json.dumps([asdict(file) for file in files]) if files else None
            connection.execute(
                "INSERT INTO jobs (id, owner, type, status, priority, created_at, run_at, updated_at, completed_at, "
                "max_attempts, retain_s, input, result, files) "
                "VALUES (?, ?, 'report', 'completed', 0, 1, 1, 1, 1, 1, 1e9, '{}', '1', ?)",
                (job_id, OWNER, listed),
            )


def _open(path: Path, schema: Path, patch: pytest.MonkeyPatch) -> sqlite3.Connection:
    patch.setattr(opening, "_SCHEMA", schema)
    return open_writer(path)


async def test_files_of_older_jobs_stay_readable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend, ids = SqliteBackend(tmp_path), JobIds()
    jobs = {
        ids.new(at(count))[0]: [OutputFile(f"{number:05} 'ü\".txt", number, "text/plain") for number in range(count)]
        for count in (0, 1, 100, 101, 450)
    }
    write_old_jobs(backend.path, tmp_path, monkeypatch, jobs)
    store = await backend.open()
    for job_id, files in jobs.items():
        job = await store.get(OWNER, job_id)
        assert (list(job.files), job.files_total) == (files[:100], len(files))
        first = await store.files(job, "", 200)
        second = await store.files(job, first.next_cursor or "zzz", 1_000)
        assert [*first.files, *second.files] == files
        for file in files:
            assert await store.file(job, file.name) == file
    await backend.close()


async def test_damaged_lists_of_files_break_neither_the_migration_nor_their_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, ids = SqliteBackend(tmp_path), JobIds()
    good = [asdict(OutputFile(f"{number:03}", number, "text/plain")) for number in range(150)]
    damaged = [
        *("no JSON {", "[" * 100_000, "5", "[1]", json.dumps([None, "x", 5, [], *good]), json.dumps([1] * 150)),
        *(json.dumps([{"name": None}] * 150), json.dumps([*good, *good])),
    ]
    jobs = {ids.new(at(count))[0]: text for count, text in enumerate(damaged)}
    write_old_jobs(backend.path, tmp_path, monkeypatch, {job_id: [] for job_id in jobs})
    with closing(sqlite3.connect(backend.path)) as connection:
        for job_id, text in jobs.items():
            connection.execute("UPDATE jobs SET files = ? WHERE id = ?", (text, job_id))
        connection.commit()
    store = await backend.open()
    for job_id in jobs:
        job = await store.get(OWNER, job_id)
        await store.files(job, "", 200)
        await store.file(job, "000")
    mixed = await store.get(OWNER, list(jobs)[4])
    assert [file.name for file in (await store.files(mixed, "", 200)).files] == [file["name"] for file in good]
    await backend.close()


@pytest.mark.parametrize("damage", ["no JSON {", "5", "[5, null, [], {}]", '[["a"], [null, "x", 5]]', "[" * 100_000])
async def test_a_damaged_row_of_files_is_served_as_far_as_it_can_be_read(tmp_path: Path, damage: str) -> None:
    backend = SqliteBackend(tmp_path)
    store = await backend.open()
    files = tuple(OutputFile(f"{number:03}", number, "text/plain") for number in range(600))
    job = await ended_job(store, Completed("1", files), retain_s=DAY_S)
    with closing(sqlite3.connect(backend.path)) as connection:
        connection.execute("UPDATE output_files SET files = ? WHERE first = '200'", (damage,))
        connection.commit()
    shown = [file.name for file in (await store.files(job, "199", 150)).files if file.name.isdigit()]
    assert shown[:149] == [f"{number:03}" for number in range(400, 549)]
    assert await store.file(job, "250") is None
    assert await store.file(job, "450") == files[450]
    await backend.close()


async def test_jobs_with_many_files_expire_in_smaller_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "FILES_EXPIRED_AT_ONCE", 200)
    backend = SqliteBackend(tmp_path)
    store = await backend.open()
    for count in (250, 150, 150, 0, 0):
        files = tuple(OutputFile(f"{number:03}", number, "text/plain") for number in range(count))
        await ended_job(store, Completed("1", files), retain_s=60.0)
    assert [await store.expire(at(DAY_S), 10) for _ in range(4)] == [1, 2, 2, 0]
    await backend.close()
