"""The record as its operator sees it, over all owners."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from ..domain.jobs import Counts, Status


@dataclass(frozen=True, slots=True)
class Levels:
    """How many jobs and pending deliveries there are, and since when the oldest due job of each type is due."""

    counts: Counts
    waiting_since: Mapping[str, datetime]
    pending_deliveries: int = 0


class RecordKeeper(Protocol):
    """The record as its operator sees it, over all owners. Every method may be called while the server works."""

    @property
    def engine(self) -> str:
        """The database and its version, for people."""
        ...

    async def count_ended(self, before: datetime, statuses: Sequence[Status]) -> int:
        """How many jobs in one of these states had ended by `before`."""
        ...

    async def delete_ended(self, before: datetime, statuses: Sequence[Status], limit: int) -> Sequence[str]:
        """Delete at most `limit` of them, oldest first, and release disk space. Returns their ids."""
        ...

    async def levels(self, now: datetime) -> Levels:
        """The present levels. Raises `StoreUnavailableError`."""
        ...

    async def copy_to(self, target: Path) -> None:
        """Write a consistent copy of the record to a file that does not exist. Raises `StoreUnavailableError`."""
        ...

    async def find_faults(self) -> Sequence[str]:
        """Descriptions of what is damaged; none if the record is sound. It may take long."""
        ...
