"""The record as its operator sees it, over all owners."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from ..domain.jobs import Counts, Status


@dataclass(frozen=True, slots=True)
class Levels:
    """How many jobs there are, and by type since when the one that has waited longest could have run; and how many
    deliveries are still to be made.
    """

    counts: Counts
    waiting_since: Mapping[str, datetime]
    pending_deliveries: int = 0


class RecordKeeper(Protocol):
    """The record as its operator sees it, over all owners. Every method may run beside jobs and polls."""

    @property
    def engine(self) -> str:
        """The database and its version, for people."""
        ...

    async def count_ended(self, before: datetime, statuses: Sequence[Status]) -> int:
        """How many jobs with one of these states ended by `before`."""
        ...

    async def delete_ended(self, before: datetime, statuses: Sequence[Status], limit: int) -> Sequence[str]:
        """Delete at most `limit` of them, oldest first, and give space back; their ids."""
        ...

    async def levels(self, now: datetime) -> Levels:
        """What there is now. Raises `StoreUnavailableError`."""
        ...

    async def copy_to(self, target: Path) -> None:
        """Write a consistent copy of the record to a file that does not exist. Raises `StoreUnavailableError`."""
        ...

    async def find_faults(self) -> Sequence[str]:
        """What is damaged, in words; nothing if all is well. May take long."""
        ...
