"""The record as its operator sees it, over all owners."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from ..domain.audit import Actor
from ..domain.jobs import Counts, Status
from ..quotas import Account


@dataclass(frozen=True, slots=True)
class Levels:
    """How many jobs and pending deliveries there are, and since when the oldest due job of each type is due."""

    counts: Counts
    waiting_since: Mapping[str, datetime]
    pending_deliveries: int = 0
    kept_bytes: int = 0
    """What all jobs keep, as quotas count it."""


class RecordKeeper(Protocol):
    """The record as its operator sees it, over all owners. Every method may be called while the server works."""

    @property
    def engine(self) -> str:
        """The database and its version, for people."""
        ...

    async def count_ended(self, before: datetime, statuses: Sequence[Status]) -> int:
        """How many jobs in one of these states had ended by `before`."""
        ...

    async def delete_ended(
        self, before: datetime, statuses: Sequence[Status], limit: int, by: Actor | None = None
    ) -> Sequence[str]:
        """Delete at most `limit` of them, oldest first, and release disk space. Returns their ids.

        With `by`, each has an entry in the audit trail, added in the same step.
        """
        ...

    async def levels(self, now: datetime) -> Levels:
        """The present levels. Raises `StoreUnavailableError`."""
        ...

    async def accounts(self) -> Mapping[str, Account]:
        """The quota of each owner who keeps jobs or has a quota of their own, by owner, and how full it is."""
        ...

    async def account_of_key(self, key_id: str) -> Account:
        """The quota of a key, and how full it is. A key that was revoked counts what it has submitted, too."""
        ...

    async def find_miscounts(self) -> Sequence[str]:
        """Count all jobs and what they keep afresh. Describes what the kept counts say otherwise; it may take long."""
        ...

    async def copy_to(self, target: Path) -> None:
        """Write a consistent copy of the record to a file that does not exist. Raises `StoreUnavailableError`."""
        ...

    async def find_faults(self) -> Sequence[str]:
        """Descriptions of what is damaged; none if the record is sound. It may take long."""
        ...
