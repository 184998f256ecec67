"""The embedded `AuditTrail`: a table of the record, which triggers keep append-only, retention aside."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial

import structlog

from ....domain.audit import Entry, EntryFilter, RecordedEntry
from ....domain.instants import to_ms
from ..database import Database
from ..rows import Parameters
from ..statements import SQL
from ..transaction import Transaction
from .entries import to_entry

log = structlog.get_logger(__name__)


class SqliteAuditTrail:
    """Beside the store, on the same database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def append(self, entries: Sequence[Entry]) -> None:
        await self._database.write(partial(_add, entries=entries), _nothing)

    def note(self, entries: Sequence[Entry]) -> None:
        def failed() -> None:
            log.warning("entries of the audit trail could not be written", entries=len(entries))

        self._database.post(partial(_add, entries=entries), _nothing, failed)

    async def newest(self, wanted: EntryFilter, limit: int) -> Sequence[RecordedEntry]:
        rows = await self._database.all(SQL["newest_audit"], _where(wanted) | {"limit": limit})
        return [to_entry(row) for row in reversed(rows)]

    async def after(self, wanted: EntryFilter, seq: int, limit: int) -> tuple[Sequence[RecordedEntry], int]:
        last = await self._database.one(SQL["last_audit"], {})
        rows = await self._database.all(SQL["audit_after"], _where(wanted) | {"after": seq, "limit": limit})
        entries = [to_entry(row) for row in rows]
        read_to = entries[-1].seq if entries else seq
        if len(entries) < limit and last is not None:
            read_to = max(read_to, last[0])
        return entries, read_to

    async def expire(self, before: datetime, limit: int) -> int:
        return await self._database.write(partial(_expire, before_ms=to_ms(before), limit=limit), int)


def _add(tx: Transaction, entries: Sequence[Entry]) -> None:
    for entry in entries:
        tx.audit(entry)


def _expire(tx: Transaction, before_ms: int, limit: int) -> int:
    """Delete old entries. The trigger lets through only those from before what `audit_retention` says meanwhile."""
    where: Parameters = {"before": before_ms, "limit": limit}
    if tx.execute(SQL["old_audit"], where).fetchone() is None:
        return 0
    tx.execute(SQL["allow_audit_retention"], where)
    deleted = tx.execute(SQL["forget_audit"], where).rowcount
    tx.execute(SQL["end_audit_retention"])
    return deleted


def _where(wanted: EntryFilter) -> Parameters:
    return {
        "owner": wanted.owner,
        "actor": wanted.actor,
        "action": None if wanted.action is None else wanted.action.value,
        "since": None if wanted.since is None else to_ms(wanted.since),
    }


def _nothing(_: None) -> None:
    """Memory holds no entries."""
