"""The record as its operator sees it: old jobs are deleted, the file is copied and checked for damage."""

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import aiosqlite

from ...clock import utc_now
from ...domain.audit import Action, Actor
from ...domain.instants import nearest_to_ms, to_ms
from ...domain.jobs import STATUSES, Counts, Status
from ...errors import StoreUnavailableError
from ...ports.record import Levels
from ...quotas import Account
from ..memory.mirror import Changed
from . import operations
from .database import Database
from .rows import Parameters
from .statements import SQL
from .store import SqliteStore
from .transaction import Transaction

MAX_FAULTS = 20


class SqliteRecordKeeper:
    """The embedded `RecordKeeper`. Deleting goes through the store, so that memory follows."""

    def __init__(self, database: Database, store: SqliteStore) -> None:
        self._database = database
        self._store = store

    @property
    def engine(self) -> str:
        return f"SQLite {sqlite3.sqlite_version}"

    async def count_ended(self, before: datetime, statuses: Sequence[Status]) -> int:
        row = await self._database.one(SQL["count_ended"], _ended(before, statuses))
        return int(row[0]) if row else 0

    async def delete_ended(
        self, before: datetime, statuses: Sequence[Status], limit: int, by: Actor | None = None
    ) -> Sequence[str]:
        # Found by a reader: finding them may take long, and would hold up every other write.
        found = await self._database.all(SQL["ended_before"], _ended(before, statuses) | {"limit": limit})
        if not found:
            return []

        def operation(tx: Transaction) -> list[Changed]:
            deleted = operations.delete_ended(tx, found)
            for changed in deleted:
                tx.audit_job(by, utc_now(), Action.DELETE, changed.job)
            return deleted

        return [job.id for job in await self._store.change(operation)]

    async def levels(self, now: datetime) -> Levels:
        by_type: defaultdict[str, Counter[Status]] = defaultdict(Counter)
        kept_bytes = 0
        for _, _, job_type, status, jobs, size_bytes in await self._database.all(SQL["counts"], {}):
            kept_bytes += size_bytes
            if status in STATUSES:
                by_type[job_type][Status(status)] += jobs
        waiting = await self._database.all(SQL["waiting_since"], {"now": to_ms(now)})
        pending = await self._database.one(SQL["count_pending_deliveries"], {})
        return Levels(
            Counts(by_type),
            {job_type: nearest_to_ms(run_at) for job_type, run_at in waiting},
            int(pending[0]) if pending else 0,
            kept_bytes,
        )

    async def accounts(self) -> Mapping[str, Account]:
        return {owner: self._store.account(owner) for owner in self._store.holders()}

    async def account_of_key(self, key_id: str) -> Account:
        return self._store.account_of_key(key_id)

    async def find_miscounts(self) -> Sequence[str]:
        try:
            counts = await self._database.all(SQL["miscounts"], {"limit": MAX_FAULTS})
            jobs = await self._database.all(SQL["miscounted_jobs"], {"limit": MAX_FAULTS})
            held_up = await self._database.all(
                SQL["held_up"], {"limit": MAX_FAULTS, "running": self._store.default_quota.running}
            )
        except StoreUnavailableError as error:
            return [str(error)]
        return (
            [
                f"the counts say that {owner} has {jobs:,} {status} {job_type} jobs with {size_bytes:,} bytes; "
                f"there are {found_jobs:,} with {found_bytes:,}"
                for owner, job_type, status, jobs, size_bytes, found_jobs, found_bytes in counts
            ]
            + [
                f"job {job_id} is said to keep {size_bytes:,} bytes; it keeps {found:,}"
                for job_id, size_bytes, found in jobs
            ]
            + [
                f"{waiting:,} {job_type} jobs of {owner} wait for a quota that has room: restart the server"
                for owner, job_type, waiting in held_up
            ]
        )

    async def copy_to(self, target: Path) -> None:
        # VACUUM INTO reads in a transaction of its own (sqlite.org/lang_vacuum.html), so it sees one moment and
        # holds up nothing.
        connection = await aiosqlite.connect(self._database.path, isolation_level=None)
        try:
            await connection.execute_fetchall("PRAGMA wal_autocheckpoint = 0")
            await connection.execute_fetchall("VACUUM INTO ?", (str(target),))
        except sqlite3.DatabaseError as error:
            raise StoreUnavailableError(f"the record cannot be copied: {error}") from error
        finally:
            await connection.close()

    async def find_faults(self) -> Sequence[str]:
        try:
            rows = await self._database.all(f"PRAGMA integrity_check({MAX_FAULTS})", {})
            entries, first, last = (await self._database.all(SQL["audit_numbers"], {}))[0]
        except StoreUnavailableError as error:
            return [str(error)]
        missing = 0 if first is None else last - first + 1 - entries
        gaps = [f"entries of the audit trail are missing: {missing:,}"] if missing else []
        return [str(row[0]) for row in rows if row[0] != "ok"] + gaps


def _ended(before: datetime, statuses: Sequence[Status]) -> Parameters:
    return {"before": to_ms(before), "statuses": json.dumps(list(statuses))}
