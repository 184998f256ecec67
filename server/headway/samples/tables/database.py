"""The SQLite file that a CSV file is imported into, which also records how far the import has got.

The rows of a batch, the rejected ones and the position after them are written in one transaction. If the process is
killed at any moment, the file is as it was after some batch, and the import resumes at the byte after it: every row
is imported exactly once.
"""

import csv
import json
import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import isfinite, nan
from pathlib import Path
from typing import Final, Self

Cell = str | int | float | None

_INTEGER: Final = re.compile(r"[+-]?(?:0|[1-9]\d{0,18})", re.ASCII)
_REAL: Final = re.compile(r"[+-]?(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_INTEGER_LIMIT: Final = 2**63
_EXACT_IN_A_FLOAT: Final = 2**53
_LONGEST_NAME: Final = 60


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column of `data`: `type` is INTEGER, REAL or TEXT."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Position:
    """How far a file has been read, in bytes and lines, and how many records were imported and rejected."""

    offset: int
    lines: int
    rows: int = 0
    rejected: int = 0


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that did not fit, and the line that it begins on."""

    line: int
    reason: str
    fields: Sequence[str]


def table_columns(header: Sequence[str], sample: Iterable[Sequence[str]]) -> list[TableColumn]:
    """Return names and types of the columns. Names are unique regardless of case, as SQLite requires.

    A column is INTEGER or REAL if everything in the sample is; empty cells do not count.
    """
    fitting = [row for row in sample if len(row) == len(header)]
    columns: list[TableColumn] = []
    taken: set[str] = set()
    for position, cell in enumerate(header):
        plain = re.sub(r"\W+", "_", cell).strip("_")[:_LONGEST_NAME] or f"column_{position + 1}"
        name, copy = plain, 1
        while name.lower() in taken:
            copy += 1
            name = f"{plain}_{copy}"
        taken.add(name.lower())
        columns.append(TableColumn(name, _type_of([row[position] for row in fitting if row[position]])))
    return columns


def _type_of(cells: Sequence[str]) -> str:
    for kind in ("INTEGER", "REAL"):
        if cells and all(_converts(cell, kind) for cell in cells):
            return kind
    return "TEXT"


def _converts(cell: str, kind: str) -> bool:
    try:
        _convert(cell, kind)
    except ValueError:
        return False
    return True


def _convert(cell: str, kind: str) -> Cell:
    """Return the cell as the column's type; an empty one is NULL. Raises ValueError.

    What would not come back as it was written does not convert: `007`, whose zeros would go, 2**63, which
    SQLite cannot keep, or a number of twenty digits in a REAL column.
    """
    if kind == "TEXT":
        return cell
    text = cell.strip()
    if not text:
        return None
    if kind == "INTEGER":
        if not _INTEGER.fullmatch(text) or not -_INTEGER_LIMIT <= int(text) < _INTEGER_LIMIT:
            raise ValueError(f"{_quoted(cell)} is not an integer")
        return int(text)
    number = float(text) if _REAL.fullmatch(text) else nan
    if not isfinite(number) or (abs(number) > _EXACT_IN_A_FLOAT and text.lstrip("+-").isdecimal()):
        raise ValueError(f"{_quoted(cell)} is not a number")
    return number


def _quoted(cell: str) -> str:
    longest = 40
    return json.dumps(cell if len(cell) <= longest else cell[:longest] + "…", ensure_ascii=False)


class ImportDatabase:
    """The file that the rows are imported into. Use it as a context manager, by one process at a time."""

    def __init__(self, path: Path, columns: Sequence[TableColumn], start: Position) -> None:
        self._columns = columns
        self._database = sqlite3.connect(path, isolation_level=None)
        self._insert = f"INSERT INTO data VALUES ({', '.join('?' * len(columns))})"  # noqa: S608 - marks only
        try:
            self._create(start)
            self.position = self._read_position()
        except BaseException:
            self._database.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def add(self, records: Iterable[tuple[int, Sequence[str]]], offset: int, lines: int) -> list[Rejected]:
        """Write a batch and the position after it in one transaction; return the rejected records."""
        rows: list[list[Cell]] = []
        rejected: list[Rejected] = []
        for number, fields in records:
            try:
                rows.append(self._row(fields))
            except ValueError as error:
                rejected.append(Rejected(number, str(error), fields))
        before = self.position
        position = Position(offset, lines, before.rows + len(rows), before.rejected + len(rejected))
        self._database.execute("BEGIN IMMEDIATE")
        try:
            self._database.executemany(self._insert, rows)
            self._database.executemany(
                "INSERT INTO headway_rejected VALUES (?, ?, ?)",
                ((entry.line, entry.reason, json.dumps(entry.fields)) for entry in rejected),
            )
            self._database.execute(
                "UPDATE headway_position SET offset = ?, lines = ?, rows = ?, rejected = ?",
                (position.offset, position.lines, position.rows, position.rejected),
            )
            self._database.execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise
        self.position = position
        return rejected

    def publish(self, database: Path, rejected: Path) -> None:
        """Write the finished files: a copy without the bookkeeping, and the rejected records as CSV.

        This file is not changed, so that a restart can do the same again.
        """
        with rejected.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["line", "reason", *(column.name for column in self._columns)])
            writer.writerows([line, reason, *fields] for line, reason, fields in self._rejected())
        database.unlink(missing_ok=True)
        self._database.execute("VACUUM INTO ?", (str(database),))
        copy = sqlite3.connect(database, isolation_level=None)
        try:
            copy.execute("DROP TABLE headway_position")
            copy.execute("DROP TABLE headway_rejected")
            if self.position.rejected:
                copy.execute("VACUUM")
        finally:
            copy.close()

    def _create(self, start: Position) -> None:
        """Create the tables, all or none of them, unless an earlier attempt did."""
        columns = ", ".join(f'"{column.name}" {column.type}' for column in self._columns)
        self._database.execute("BEGIN IMMEDIATE")
        if not self._database.execute("SELECT 1 FROM sqlite_schema WHERE name = 'headway_position'").fetchone():
            self._database.execute(f"CREATE TABLE data ({columns})")
            self._database.execute("CREATE TABLE headway_rejected (line INTEGER, reason TEXT, fields TEXT)")
            self._database.execute("CREATE TABLE headway_position (offset, lines, rows, rejected)")
            self._database.execute("INSERT INTO headway_position VALUES (?, ?, 0, 0)", (start.offset, start.lines))
        self._database.execute("COMMIT")

    def _read_position(self) -> Position:
        row = self._database.execute("SELECT offset, lines, rows, rejected FROM headway_position").fetchone()
        return Position(*row)

    def _row(self, fields: Sequence[str]) -> list[Cell]:
        """Return the record's converted cells. Raises ValueError with the reason if one does not fit."""
        if len(fields) != len(self._columns):
            raise ValueError(f"{len(fields)} fields instead of {len(self._columns)}")
        try:
            return [_convert(cell, column.type) for cell, column in zip(fields, self._columns, strict=True)]
        except ValueError:
            for cell, column in zip(fields, self._columns, strict=True):
                try:
                    _convert(cell, column.type)
                except ValueError as error:
                    raise ValueError(f"{column.name}: {error}") from None
            raise

    def _rejected(self) -> Iterator[tuple[int, str, list[str]]]:
        for line, reason, fields in self._database.execute("SELECT * FROM headway_rejected ORDER BY rowid"):
            yield line, reason, json.loads(fields)
