"""The connection that writes: pragmas, identity, migrations (sqlite.org/pragma.html, sqlite.org/wal.html)."""

import re
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from types import NoneType

import structlog

from ....errors import SetupError
from ..listing.words import WORDS_OF, words_as_json
from .repairing import Execute, repair_before_migration

APPLICATION_ID = 0x48445759  # "HDWY"
BUSY_TIMEOUT_MS = 2_000
OLDEST_SQLITE = (3, 37, 0)  # STRICT tables
LONG_S = 1.0
"""Migrations that took this long are worth a second line in the log."""

READER_PRAGMAS = (
    f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}",
    "PRAGMA query_only = ON",
    "PRAGMA wal_autocheckpoint = 0",  # before 3.51.3 two connections that checkpoint can lose a commit
)


class ReadText:
    """Reads text as it comes from the file (`sqlite3.Connection.text_factory`), also if it is no UTF-8.

    Otherwise a statement that finds one such value gives none of its rows.
    """

    def __init__(self) -> None:
        self.damaged: list[str] = []
        """What was read with replacement characters. The last few, since writers look at none."""

    def __call__(self, raw: bytes) -> str:
        try:
            return raw.decode()
        except UnicodeDecodeError:
            text = raw.decode("utf-8", "replace")
            self.damaged[MOST_DAMAGED:] = [text]
            return text


log = structlog.get_logger(__name__)

sqlite3.register_adapter(NoneType, lambda null: null)  # without one, Python looks for one at each NULL: 0.3 µs

MOST_DAMAGED = 100
_SCHEMA = Path(__file__).parents[1] / "schema"


def open_writer(path: Path) -> sqlite3.Connection:
    """Open the one connection that writes and checkpoints. Creates or migrates the file.

    Raises `SetupError`, and leaves the file as it was, if it is not Headway's, is newer than this server, damaged or
    locked.
    """
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise SetupError(f"SQLite 3.37 or newer is needed; this Python has {sqlite3.sqlite_version}")
    connection: sqlite3.Connection | None = None
    try:
        if path.exists():
            with closing(_open_unchanged(path)) as unchanged:
                unchanged.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
                _check_identity(unchanged, path)
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # only effective before the first table
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.text_factory = ReadText()
        connection.create_function(WORDS_OF, 2, words_as_json, deterministic=True)  # for a migration
        _migrate(connection, path)
    except sqlite3.DatabaseError as error:
        _close(connection)
        raise SetupError(_explain(error, path)) from error
    except SetupError:
        _close(connection)
        raise
    return connection


def uri(path: Path) -> str:
    """The path as an SQLite URI (sqlite.org/uri.html), to which options can be added."""
    return "file:" + str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def _open_unchanged(path: Path) -> sqlite3.Connection:
    """A connection that changes nothing. A writable one would, when closed, fold a foreign WAL into a foreign file."""
    wal = Path(f"{path}-wal")
    # Without a WAL to read, "immutable" keeps SQLite from creating an empty one beside the file.
    options = "mode=ro" if wal.exists() and wal.stat().st_size else "mode=ro&immutable=1"
    return sqlite3.connect(f"{uri(path)}?{options}", uri=True)


def _check_identity(connection: sqlite3.Connection, path: Path) -> None:
    application_id = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if application_id != APPLICATION_ID and (tables or application_id):
        raise SetupError(f"{path} is an SQLite file of another program: choose another --data-dir")
    if version > len(_migrations()):
        raise SetupError(f"{path} was written by a newer Headway (schema {version}): upgrade this one")
    if missing := _tables_of(version) - tables:
        lost = ", ".join(sorted(missing))
        raise SetupError(f"{path} is damaged (it lacks {lost}): restore a backup or choose another --data-dir")


def _tables_of(version: int) -> set[str]:
    """The tables that a file of this version must have; none was ever dropped."""
    scripts = [file.read_text("utf-8") for file in _migrations()[:version]]
    return {name for script in scripts for name in re.findall(r"^CREATE TABLE (\w+)", script, re.MULTILINE)}


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Apply the missing migrations. Unless the file is new the log says so first: some read every job."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    newest = len(_migrations())
    started_s = time.monotonic()
    if 0 < version < newest:
        log.info("migrating the record", path=str(path), schema=version, to=newest)
    _apply_from(version, connection)
    took_s = time.monotonic() - started_s
    if 0 < version < newest and took_s >= LONG_S:
        log.info("migrated the record", path=str(path), schema=newest, took_s=round(took_s, 1))


def _apply_from(version: int, connection: sqlite3.Connection) -> None:
    """Apply the migrations after this one, each in a transaction of its own that also records its number."""
    for number, file in enumerate(_migrations()[version:], version + 1):
        statements = _statements(file.read_text("utf-8"))
        try:
            _apply(number, statements, connection)
        except sqlite3.IntegrityError:  # a damaged row that STRICT tables refuse; looking for some takes time
            _apply(number, statements, connection, repair_before_migration)


def _apply(
    number: int,
    statements: Sequence[str],
    connection: sqlite3.Connection,
    prepare: Callable[[Execute], None] | None = None,
) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        if prepare is not None:
            prepare(connection.execute)
        for statement in statements:
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {number}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # on some errors SQLite rolls back by itself
            connection.execute("ROLLBACK")
        raise


def _migrations() -> list[Path]:
    return sorted(_SCHEMA.glob("[0-9]*.sql"))


def _statements(script: str) -> list[str]:
    """The statements of a script. `executescript` would commit the open transaction."""
    statements, pending = [], ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            statements.append(pending)
            pending = ""
    return statements


def _explain(error: sqlite3.DatabaseError, path: Path) -> str:
    text = str(error)
    if "locked" in text:
        return f"{path} is locked by another program: close it (a database browser?), then start again"
    if "not a database" in text or "malformed" in text:
        return f"{path} is damaged or not an SQLite file ({text}): restore a backup or choose another --data-dir"
    return f"{path} cannot be opened ({text}): check the disk and its permissions, or choose another --data-dir"


def _close(connection: sqlite3.Connection | None) -> None:
    if connection is not None:
        connection.close()
