"""Damaging a record by hand, past all of its checks."""

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from headway.domain.ids import JobIds

BLOB = b"\xff\xfe\x00blob"
NOT_UTF_8 = b"a\xffb"
"""To be stored as text."""
SURROGATE = '{"type": "t", "title": "a\\ud800", "detail": null, "status": 500}'
FILE = '[{"name": "a\\ud800.txt", "size_bytes": 1, "content_type": "text/plain"}]'
NO_INSTANT = 2**62

DAMAGE: list[tuple[str, Any]] = [
    *((column, BLOB) for column in ("label", "type", "status", "done", "total", "unit", "message", "step", "retry_of")),
    *(
        (column, BLOB)
        for column in ("error", "files", "uploads", "webhook", "metadata", "result_url", "input", "result")
    ),
    *((column, BLOB) for column in ("created_at", "attempt", "version", "last_seq", "percent", "result_bytes")),
    *((column, "no number") for column in ("done", "total", "updated_at")),
    *((column, "no JSON {") for column in ("error", "files", "uploads", "webhook", "metadata", "input", "result")),
    *((column, "[1, null]") for column in ("error", "files", "uploads", "webhook", "metadata")),
    *((column, "5") for column in ("error", "files", "uploads", "webhook", "metadata")),
    *((column, "[" * 100_000) for column in ("error", "files", "input", "result")),
    *((column, at) for column in ("created_at", "run_at", "updated_at") for at in (NO_INSTANT, -NO_INSTANT)),
    *((column, NO_INSTANT) for column in ("started_at", "completed_at", "expires_at")),
    ("error", json.dumps({"type": 1, "title": ["x"], "detail": "x" * 1_000_000, "status": "many", "more": 1})),
    ("files", FILE),
    ("files", '[{"name": 5}]'),
    ("webhook", '{"url": "https://example.org", "events": ["job.exploded"]}'),
    ("error", SURROGATE),
    ("metadata", '{"a": 1, "b": "c\\ud800"}'),
    ("status", "exploded"),
    ("label", NOT_UTF_8),
    ("message", NOT_UTF_8),
]
"""A column, and what is in it."""
IDS = JobIds()


@contextmanager
def record(data_dir: Path, name: str = "headway.db") -> Iterator[sqlite3.Connection]:
    """The file, without its checks: an editor that knows nothing of Headway. Changes are committed at the end.

    Then the checks are there again: they refuse to update a row that does not pass them.
    """
    file = data_dir / name
    with closing(sqlite3.connect(file)) as connection:
        tables = connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'table'").fetchall()
    lenient = [(name, re.sub(r"\) STRICT(, )?", ") ", sql).replace(" NOT NULL", "")) for name, sql in tables]
    define(file, lenient)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        with connection:
            yield connection
    define(file, tables)


def define(file: Path, tables: list[tuple[str, str]]) -> None:
    """Change the definitions of tables, and nothing in their rows."""
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.executemany(
            "UPDATE sqlite_schema SET sql = ? WHERE type = 'table' AND name = ?", [(sql, name) for name, sql in tables]
        )


def put(connection: sqlite3.Connection, place: str, value: object, row_id: str) -> None:
    """Put a value into `table.column`, of the row that has this id."""
    table, column = place.split(".")
    put_as = "CAST(? AS TEXT)" if value is NOT_UTF_8 else "?"
    connection.execute(f"UPDATE {table} SET {column} = {put_as} WHERE id = ?", (value, row_id))  # noqa: S608 - constants


def copied(connection: sqlite3.Connection, table: str, row_id: str) -> str:
    """The id of a new row that is otherwise like this one."""
    others = ", ".join(row[1] for row in connection.execute(f"PRAGMA table_info({table})") if row[1] != "id")
    made = IDS.new(datetime.now(UTC))[0]
    statement = f"INSERT INTO {table} (id, {others}) SELECT ?, {others} FROM {table} WHERE id = ?"  # noqa: S608
    connection.execute(statement, (made, row_id))
    return made


def copies(connection: sqlite3.Connection, job_id: str, number: int) -> list[str]:
    """Jobs like this one, with its log."""
    made = [copied(connection, "jobs", job_id) for _ in range(number)]
    for copy in made:
        connection.execute(
            "INSERT INTO history SELECT ?, seq, at, kind, level, message FROM history WHERE job_id = ?", (copy, job_id)
        )
    return made
