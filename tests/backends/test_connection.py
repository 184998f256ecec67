"""Opening the file: foreign and damaged files are refused with a helpful message and left as they were."""

import math
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from headway.backends.bells import LocalHub
from headway.backends.sqlite.opening import connection as opening
from headway.backends.sqlite.opening.connection import APPLICATION_ID, open_writer
from headway.backends.sqlite.record import SqliteRecord
from headway.errors import SetupError
from structlog.testing import capture_logs

from tests.conformance.backends import BODY_OF


def contents(directory: Path) -> dict[str, bytes]:
    """Every file and its bytes, without the shared-memory index that a reader creates."""
    return {file.name: file.read_bytes() for file in directory.iterdir() if not file.name.endswith("-shm")}


def garbage(path: Path) -> None:
    path.write_bytes(b"this is no database, however long it may be. " * 1_000)


def foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")


def foreign_without_tables(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA application_id = 12345")


def foreign_with_a_wal(path: Path) -> None:
    """What a crashed program leaves: commits that are only in the WAL."""
    with closing(sqlite3.connect(path.with_name("live.db"), isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE recipes (name TEXT)")
        for suffix in ("", "-wal"):
            Path(f"{path}{suffix}").write_bytes(Path(f"{path.with_name('live.db')}{suffix}").read_bytes())
    path.with_name("live.db").unlink()


def newer(path: Path) -> None:
    open_writer(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA user_version = 99")


def truncated(path: Path) -> None:
    open_writer(path).close()
    path.write_bytes(path.read_bytes()[:5_000])


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (garbage, "is damaged or not an SQLite file.*restore a backup or choose another --data-dir"),
        (foreign, "of another program: choose another --data-dir"),
        (foreign_without_tables, "of another program: choose another --data-dir"),
        (foreign_with_a_wal, "of another program: choose another --data-dir"),
        (newer, r"newer Headway \(schema 99\): upgrade"),
        (truncated, "is damaged or not an SQLite file.*restore a backup"),
    ],
)
def test_a_file_that_is_not_ours_is_refused_and_left_as_it_was(
    tmp_path: Path, made: Callable[[Path], None], words: str
) -> None:
    path = tmp_path / "headway.db"
    made(path)
    before = contents(tmp_path)
    with pytest.raises(SetupError, match=words) as error:
        open_writer(path)
    assert contents(tmp_path) == before
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_locked_file_is_refused_and_left_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "BUSY_TIMEOUT_MS", 1)
    path = tmp_path / "headway.db"
    open_writer(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        other.execute("INSERT INTO probe VALUES (1, 1)")
        before = contents(tmp_path)
        with pytest.raises(SetupError, match="is locked by another program: close it"):
            open_writer(path)
        assert contents(tmp_path) == before
        other.execute("ROLLBACK")
    open_writer(path).close()


def test_a_directory_in_its_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="cannot be opened"):
        open_writer(tmp_path)
    with pytest.raises(SetupError, match="cannot be opened"):
        open_writer(tmp_path / "absent" / "headway.db")


async def test_damage_beyond_the_first_page_is_reported_like_any_other(tmp_path: Path) -> None:
    path = tmp_path / "headway.db"
    open_writer(path).close()
    whole = path.read_bytes()
    page = int.from_bytes(whole[16:18], "big")
    for start in range(2 * page, len(whole), page):
        path.write_bytes(whole[:start] + b"\xff" * page + whole[start + page :])
        try:
            record = await SqliteRecord.open(path, LocalHub(), max_queued=10, body_of=BODY_OF)
        except SetupError as error:
            assert "restore a backup" in str(error)  # noqa: PT017 - some pages are not read at start
        else:
            await record.close()


@pytest.mark.parametrize("name", ["headway.db", "odd %3f?#name'.db", "Grüße.db"])
async def test_a_new_file_gets_headways_identity(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    for _ in range(2):
        await (await SqliteRecord.open(path, LocalHub(), max_queued=10, body_of=BODY_OF)).close()
    assert list(contents(tmp_path)) == [name], "an orderly close leaves one file"
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        assert connection.execute("PRAGMA user_version").fetchone() == (len(opening._migrations()),)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_an_empty_file_counts_as_new(tmp_path: Path) -> None:
    path = tmp_path / "headway.db"
    path.touch()
    open_writer(path).close()
    open_writer(path).close()


def test_commits_are_synced_and_only_one_connection_checkpoints(tmp_path: Path) -> None:
    with closing(open_writer(tmp_path / "headway.db")) as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert connection.isolation_level is None
    assert "PRAGMA wal_autocheckpoint = 0" in opening.READER_PRAGMAS
    assert "PRAGMA query_only = ON" in opening.READER_PRAGMAS


def test_a_failed_migration_leaves_the_version_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "headway.db"
    schema = tmp_path / "schema"
    schema.mkdir()
    (schema / "0001.sql").write_text("CREATE TABLE one (a); -- a comment; with a semicolon\nCREATE TABLE two (b);\n")
    monkeypatch.setattr(opening, "_SCHEMA", schema)
    open_writer(path).close()
    (schema / "0002.sql").write_text("CREATE TABLE three (c);\nCREATE TABLE one (again);\n")
    with pytest.raises(SetupError):
        open_writer(path)
    (schema / "0002.sql").write_text("CREATE TABLE three (c);\n")
    with closing(open_writer(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)
        tables = connection.execute("SELECT name FROM sqlite_schema ORDER BY name").fetchall()
    assert tables == [("one",), ("three",), ("two",)]


def test_the_log_says_that_a_record_is_migrated_and_when_that_is_done_if_it_took_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, schema = tmp_path / "headway.db", tmp_path / "schema"
    schema.mkdir()
    (schema / "0001.sql").write_text("CREATE TABLE one (a);\n")
    monkeypatch.setattr(opening, "_SCHEMA", schema)
    monkeypatch.setattr(opening, "LONG_S", 0.0)
    with capture_logs() as entries:
        open_writer(path).close()
        open_writer(path).close()
    assert entries == [], "a new file is not migrated, nor is one that is up to date"
    for number, long_s in ((2, math.inf), (3, 0.0)):
        (schema / f"{number:04}.sql").write_text(f"CREATE TABLE number_{number} (a);\n")
        monkeypatch.setattr(opening, "LONG_S", long_s)
        with capture_logs() as entries:
            open_writer(path).close()
        first, *others = entries
        assert (first["event"], first["schema"], first["to"]) == ("migrating the record", number - 1, number)
        assert [entry["event"] for entry in others] == (["migrated the record"] if long_s == 0 else [])
