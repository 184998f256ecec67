"""Repairs of damaged rows, made when the file is opened.

SQLite refuses every update of a row of a STRICT table that has a value of the wrong type in any of its columns
(sqlite.org/stricttables.html), and if the number of a job's attempt is not a number, no attempt can record an end. One
such job would never end, or would keep the server from starting; one such delivery would keep all others from being
sent. So rows that the server will change get values of the right type. Ended jobs stay as they are: they are only read
and deleted. A job whose status is none has failed: otherwise neither retention nor a list of failed jobs finds it.

A migration changes ended jobs too. If SQLite refuses that because of one damaged row, all are repaired before it.
"""

import json
import sqlite3
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple, Self

from ....clock import utc_now
from ....domain.instants import to_ms
from ....domain.jobs import STATUSES
from ...mending import report
from ..rows import DAMAGED, error_json
from ..statements import SQL
from ..transaction import Transaction

FARTHEST = 1 << 48
"""No instant is as far, and no size as large. Counting on from the largest number would pass 64 bits."""
A_WEEK_S = 7 * 24 * 60 * 60
NEW_ID = "'00000000-0000-7000-8000-' || lower(hex(randomblob(6)))"

_TYPES = {"TEXT": ("text",), "INTEGER": ("integer",), "REAL": ("real", "integer"), "BLOB": ("blob",)}
_STATUSES = sorted(STATUSES)
_READABLE = f"status IN ({', '.join(map(repr, map(str, _STATUSES)))})"
_ACTIVE = "coalesce(status, '') IN ('queued', 'running')"

Execute = Callable[..., sqlite3.Cursor]


class _Repairs(NamedTuple):
    """The rows of a table that are repaired, and the values of columns that no general rule gives."""

    where: str
    values: dict[str, str]


_JOBS_COUNTED = (
    "FROM jobs WHERE jobs.owner = counts.owner AND coalesce(jobs.key_id, '') = counts.key_id"
    " AND jobs.type = counts.type AND jobs.status = counts.status"
)
_ACTIVE_JOBS = (  # by the indexes that hold them alone: any other plan reads every job that has ended
    "rowid IN (SELECT rowid FROM jobs INDEXED BY jobs_queued WHERE status = 'queued'"
    " UNION ALL SELECT rowid FROM jobs INDEXED BY jobs_running WHERE status = 'running')"
)
REPAIRS = {
    "jobs": _Repairs(
        _ACTIVE_JOBS,
        {
            "id": NEW_ID,
            # The attempts that have ended are all on record, apart from the one that runs.
            "attempt": "(SELECT coalesce(max(a.attempt), 0) FROM attempts AS a WHERE a.job_id = jobs.id)"
            " + (status = 'running')",
            "last_seq": "(SELECT coalesce(max(h.seq), 1) FROM history AS h WHERE h.job_id = jobs.id)",
            "state_seq": "1",
            "version": "1",
            "max_attempts": "1",
            "retain_s": str(A_WEEK_S),
            "status": "'failed'",
        },
    ),
    "deliveries": _Repairs("status = 'pending'", {"id": NEW_ID}),
    "receivers": _Repairs("true", {}),
    "counts": _Repairs(
        "true",
        {
            "jobs": f"(SELECT count(*) {_JOBS_COUNTED})",
            "bytes": "(SELECT coalesce(sum(bytes + iif(jobs.status IN ('queued', 'running'), checkpoint_bytes, 0)), 0)"
            f" {_JOBS_COUNTED})",
        },
    ),
    # What cannot be read gives no right: no key is restored, none becomes an admin's, no quota is lifted.
    "api_keys": _Repairs("true", {"revoked_at": "0", "read_only": "1", "admin": "0", "works_on": "''"}),
    "quotas": _Repairs("true", dict.fromkeys(("jobs", "bytes", "queued", "running"), "0")),
    "webhook_secrets": _Repairs("true", {"expires_at": "0"}),
}
DECIDING = frozenset(
    {
        *("owner", "type", "input", "checkpoint", "max_attempts", "failures", "recoveries", "interruptions"),
        *("cancel_requested", "purge_requested"),
    }
)
"""What says whether a job that was running may run again. If one of them was lost, it fails."""


READ_BY_MIGRATIONS = ("jobs", "history", "output_files")
_FURTHER = {
    "id": "id NOT GLOB '*[^ -~]*'",  # no claim would find it again
    "jobs.status": _READABLE,
}
"""What must be true of a column beside its type."""


def repair(tx: Transaction) -> None:
    """Repair the damaged rows that will be changed, and jobs without a state; the log names each."""
    for table, repairs in REPAIRS.items():
        _repair_table(tx.execute, table, repairs)
    unreadable = [row[0] for row in tx.execute(_UNREADABLE).fetchall()]
    if unreadable:
        where = "rowid IN (SELECT value FROM json_each(:rows))"
        _repair_table(tx.execute, "jobs", REPAIRS["jobs"]._replace(where=where), unreadable)
        for statement in ("forget_counts", "count_again"):  # they were counted in the state that they were in
            tx.execute(SQL[statement], {"rows": json.dumps(unreadable)})


def repair_before_migration(execute: Execute) -> None:
    """Repair every damaged row that a migration may read or change; the log names each."""
    tables = {row[0] for row in execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()}
    for table in tables.intersection(READ_BY_MIGRATIONS):
        values = REPAIRS[table].values if table in REPAIRS else {}
        if "attempts" not in tables:
            values = values | {"attempt": "(status = 'running')"}
        _repair_table(execute, table, _Repairs("true", values))


def _repair_table(execute: Execute, table: str, repairs: _Repairs, rows: Sequence[int] = ()) -> None:
    """`rows`: what the condition of `repairs` calls so."""
    columns = [_Column.of(table, row) for row in execute(f"PRAGMA table_info({table})").fetchall()]
    checked = {column.name: column for column in columns if column.type in _TYPES}
    key = next(column.name for column in columns if column.in_key)
    damaged = f"{repairs.where} AND NOT ({' AND '.join(column.fits for column in checked.values())})"
    conditions = ", ".join(column.fits for column in checked.values())
    where = {"rows": json.dumps(rows), "lost": error_json(DAMAGED), "now": to_ms(utc_now())}
    statement = f"SELECT {key}, {conditions} FROM {table} WHERE {damaged}"  # noqa: S608 - constants
    found = execute(statement, where).fetchall()
    if not found:
        return
    values = {name: column.mended(repairs.values) for name, column in checked.items()}
    if table == "jobs":
        values |= _of_jobs(checked, values)
    settings = ", ".join(f"{name} = {value}" for name, value in values.items())
    # IGNORE: a repaired key can be another row's.
    execute(f"UPDATE OR IGNORE {table} SET {settings} WHERE {damaged}", where)  # noqa: S608 - constants
    for name, *fitting in found:
        report(table, name, ", ".join(column for column, fits in zip(checked, fitting, strict=True) if not fits))


def _of_jobs(columns: dict[str, "_Column"], mended: dict[str, str]) -> dict[str, str]:
    """What depends on more than the column itself. A job that was running fails at the recovery, with this error."""
    known = " AND ".join(columns[name].fits for name in sorted(DECIDING.intersection(columns)))
    error, retain_s = mended["error"], mended["retain_s"]
    ends = {"completed_at": ":now", "expires_at": f":now + CAST(min({retain_s}, 3155760000.0) * 1000 AS INTEGER)"}
    return {
        "error": f"CASE status WHEN 'queued' THEN NULL WHEN 'running' THEN iif({known}, {error}, :lost)"
        f" ELSE iif({columns['status'].fits}, {error}, coalesce({error}, :lost)) END",
        **{name: f"coalesce({mended[name]}, iif({_ACTIVE}, NULL, {value}))" for name, value in ends.items()},
    }


_GAPS = [
    "status IS NULL",
    f"status < '{_STATUSES[0]}'",
    *(f"status > '{before}' AND status < '{after}'" for before, after in pairwise(_STATUSES)),
    f"status > '{_STATUSES[-1]}'",
]
_UNREADABLE = f"""
WITH RECURSIVE owners (owner) AS MATERIALIZED (
    SELECT min(owner) FROM jobs
    UNION ALL
    SELECT (SELECT min(jobs.owner) FROM jobs WHERE jobs.owner > owners.owner) FROM owners WHERE owner IS NOT NULL
)
{
    " UNION ALL ".join(
        f"SELECT jobs.rowid FROM owners CROSS JOIN jobs INDEXED BY jobs_by_status USING (owner) WHERE {gap}"
        for gap in _GAPS
    )
}
"""  # noqa: S608 - constants
"""The jobs whose status is none, with a few seeks for each owner, however many jobs there are."""


class _Column(NamedTuple):
    """A column of a table: what fits into it, and what replaces a value that does not."""

    name: str
    type: str
    required: bool
    in_key: bool

    further: str | None

    @classmethod
    def of(cls, table: str, row: tuple[int, str, str, int, object, int]) -> Self:
        """Of a row of `PRAGMA table_info`."""
        name = row[1]
        return cls(name, row[2], bool(row[3]), bool(row[5]), _FURTHER.get(name) or _FURTHER.get(f"{table}.{name}"))

    @property
    def fits(self) -> str:
        """A condition. `IN` would take twice the time, for each column of each queued job at every start."""
        fits = " OR ".join(f"typeof({self.name}) = '{each}'" for each in _TYPES[self.type])
        if self.type == "INTEGER":
            fits += f" AND {self.name} BETWEEN {-FARTHEST} AND {FARTHEST}"
        elif self.further is not None:
            fits += f" AND {self.further}"
        return f"({fits})" if self.required else f"({self.name} IS NULL OR {fits})"

    def mended(self, values: dict[str, str]) -> str:
        """An expression: the value if it fits; else what `values` says, what can be read of text, nothing or zero."""
        instead = values.get(self.name) or (
            f"coalesce(CAST({self.name} AS TEXT), '')" if self.type == "TEXT" else "0" if self.required else "NULL"
        )
        return f"iif({self.fits}, {self.name}, {instead})"
