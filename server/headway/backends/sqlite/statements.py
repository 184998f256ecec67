"""The SQL statements by name: each is a file in `queries/`."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from ...domain.access import EVERY_OWNER
from ...domain.jobs import Transition
from .auditing.entries import ENTRY_COLUMNS
from .rows import COLUMNS, DELIVERY_COLUMNS, KEPT_COLUMNS

_FOLDER = Path(__file__).parent / "queries"

_LISTS = {
    "{columns}": COLUMNS,
    "{kept}": KEPT_COLUMNS,
    "{delivery}": DELIVERY_COLUMNS,
    "{entry}": ENTRY_COLUMNS,
}


def _with_columns(statement: str) -> str:
    for name, columns in _LISTS.items():
        statement = statement.replace(name, columns)
    return statement


SQL: dict[str, str] = {file.stem: _with_columns(file.read_text("utf-8")) for file in sorted(_FOLDER.glob("*.sql"))}

ROWS_AT_ONCE = (64, 16, 4, 1)
"""How many rows one statement takes, in the order in which the sizes are tried."""


def getting(caller: str) -> str:
    """The statement that reads a job if the caller may see it. It takes `id` and `caller`."""
    return SQL["get_of_any_owner" if caller == EVERY_OWNER else "get"]


def _by_size(name: str) -> dict[int, str]:
    """A statement for several rows at once: one for each row costs half as much again, if not twice as much."""
    (row,) = re.findall(r"VALUES (\([^)]*\))", SQL[name])
    return {size: SQL[name].replace(row, ", ".join([row] * size)) for size in ROWS_AT_ONCE}


INSERT = _by_size("insert")
ENTERED = _by_size("entered")
TICK = _by_size("tick")
INSERT_ATTEMPT = _by_size("insert_attempt")
INSERT_AUDIT = _by_size("insert_audit")
COMPLETE = _by_size(Transition.COMPLETE)


def in_statements(by_size: Mapping[int, str], rows: Sequence[Sequence[Any]]) -> Iterator[tuple[str, list[Any]]]:
    """The statements, each with its values, that take all the rows in order."""
    done = 0
    for size in ROWS_AT_ONCE:
        while len(rows) - done >= size:
            yield by_size[size], list(chain.from_iterable(rows[done : done + size]))
            done += size
