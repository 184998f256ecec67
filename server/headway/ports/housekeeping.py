"""Keeping the record tidy: what has expired, and what crashes have left."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol


class Housekeeping(Protocol):
    """Removing what has expired."""

    async def expire(self, now: datetime, limit: int) -> int:
        """Delete at most `limit` jobs whose `expires_at` has passed; returns how many.

        Fewer, but at least one, if they have so many output files that others would wait for the deletion.
        """
        ...

    async def forget_keys(self, now: datetime, limit: int) -> int:
        """Delete at most `limit` expired idempotency keys; returns how many."""
        ...

    async def existing(self, job_ids: Sequence[str]) -> frozenset[str]:
        """Those of the ids that are jobs. Directories of the others are orphaned."""
        ...

    async def ended(self, job_ids: Sequence[str]) -> Mapping[str, bool]:
        """Those of the ids that are jobs which have ended, and whether they have output files."""
        ...

    async def discard_orphaned_results(self) -> None:
        """Begin to delete what crashes have left of results. Call it once the jobs of before have been recovered."""
        ...
