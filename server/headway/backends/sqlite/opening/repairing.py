"""Repairs of damaged rows, made when the file is opened.

SQLite refuses every update of a row of a STRICT table that has a value of the wrong type in any of its columns
(sqlite.org/stricttables.html), and if the number of a job's attempt is not a number, no attempt can record an end. One
such job would never end, or would keep the server from starting; one such delivery would keep all others from being
sent. So rows that the server will change get values of the right type. Ended jobs stay as they are: they are only read
and deleted.
"""

from typing import NamedTuple, Self

from ...mending import report
from ..rows import DAMAGED, error_json
from ..transaction import Transaction

FARTHEST = 1 << 48
"""No instant is as far, and no size as large. Counting on from the largest number would pass 64 bits."""
A_WEEK_S = 7 * 24 * 60 * 60
NEW_ID = "'00000000-0000-7000-8000-' || lower(hex(randomblob(6)))"

_TYPES = {"TEXT": ("text",), "INTEGER": ("integer",), "REAL": ("real", "integer"), "BLOB": ("blob",)}


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
    "api_keys": _Repairs("true", {"revoked_at": "0", "read_only": "1", "admin": "0"}),
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


def repair(tx: Transaction) -> None:
    """Repair the damaged rows that will be changed; the log names each."""
    for table, repairs in REPAIRS.items():
        _repair_table(tx, table, repairs)


def _repair_table(tx: Transaction, table: str, repairs: _Repairs) -> None:
    columns = [_Column.of(row) for row in tx.execute(f"PRAGMA table_info({table})")]
    checked = {column.name: column for column in columns if column.type in _TYPES}
    key = next(column.name for column in columns if column.in_key)
    damaged = f"{repairs.where} AND NOT ({' AND '.join(column.fits for column in checked.values())})"
    conditions = ", ".join(column.fits for column in checked.values())
    found = tx.execute(f"SELECT {key}, {conditions} FROM {table} WHERE {damaged}").fetchall()  # noqa: S608 - constants
    if not found:
        return
    values = {name: column.mended(repairs.values) for name, column in checked.items()}
    if table == "jobs":  # one that was running fails at the recovery, with this error
        known = " AND ".join(checked[name].fits for name in sorted(DECIDING))
        values["error"] = f"iif(status = 'running', iif({known}, {values['error']}, :lost), NULL)"
    settings = ", ".join(f"{name} = {value}" for name, value in values.items())
    # IGNORE: a repaired key can be another row's.
    statement = f"UPDATE OR IGNORE {table} SET {settings} WHERE {damaged}"  # noqa: S608 - constants
    tx.execute(statement, {"lost": error_json(DAMAGED)})
    for name, *fitting in found:
        report(table, name, ", ".join(column for column, fits in zip(checked, fitting, strict=True) if not fits))


class _Column(NamedTuple):
    """A column of a table: what fits into it, and what replaces a value that does not."""

    name: str
    type: str
    required: bool
    in_key: bool

    @classmethod
    def of(cls, row: tuple[int, str, str, int, object, int]) -> Self:
        """Of a row of `PRAGMA table_info`."""
        return cls(row[1], row[2], bool(row[3]), bool(row[5]))

    @property
    def fits(self) -> str:
        """A condition."""
        types = ", ".join(f"'{each}'" for each in (*_TYPES[self.type], *(() if self.required else ("null",))))
        fits = f"typeof({self.name}) IN ({types})"
        if self.type == "INTEGER":
            fits += f" AND coalesce({self.name}, 0) BETWEEN {-FARTHEST} AND {FARTHEST}"
        elif self.name == "id":  # no claim would find it again
            fits += " AND id NOT GLOB '*[^ -~]*'"
        return f"({fits})"

    def mended(self, values: dict[str, str]) -> str:
        """An expression: the value if it fits; else what `values` says, what can be read of text, nothing or zero."""
        instead = values.get(self.name) or (
            f"coalesce(CAST({self.name} AS TEXT), '')" if self.type == "TEXT" else "0" if self.required else "NULL"
        )
        return f"iif({self.fits}, {self.name}, {instead})"
