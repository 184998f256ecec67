"""The audit trail. What changes the record is written to it by the store that makes the change, in the same step."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from ..domain.audit import Entry, EntryFilter, RecordedEntry


class AuditTrail(Protocol):
    """Entries that are only added, numbered without gaps in the order of their commits.

    Methods of other ports that take an actor add the entry themselves: it is there if and only if the change is. The
    `audited` bell rings after each commit that added entries.
    """

    async def append(self, entries: Sequence[Entry]) -> None:
        """Add entries: durable on return. Raises `StoreUnavailableError` if none was added."""
        ...

    def note(self, entries: Sequence[Entry]) -> None:
        """Add entries with the next commit, without waiting for it. A crash before it loses them. Never raises."""
        ...

    async def newest(self, wanted: EntryFilter, limit: int) -> Sequence[RecordedEntry]:
        """The newest entries, oldest first. Raises `StoreUnavailableError`."""
        ...

    async def after(self, wanted: EntryFilter, seq: int, limit: int) -> tuple[Sequence[RecordedEntry], int]:
        """The entries after number `seq`, oldest first, and the number up to which nothing else is wanted."""
        ...

    async def expire(self, before: datetime, limit: int) -> int:
        """Delete at most `limit` of the oldest entries, if they are from before that; returns how many.

        The newest entry always stays, so that numbers go on. No other method deletes or changes an entry.
        """
        ...
