"""The connection that writes: it keeps the counts of jobs, brought to disk with the commit that changes them."""

import sqlite3
from collections import Counter

from ..jobs import Status
from .statements import SQL


class CountingConnection(sqlite3.Connection):
    """Adds up over a transaction what its operations say of jobs that come, move and go.

    One row for each owner, type and status that changed, where triggers wrote one or two for each job.
    """

    _moved: Counter[tuple[str, str, str]] | None = None

    def count(self, owner: str, job_type: str, before: Status | None, after: Status | None, jobs: int = 1) -> None:
        """So many jobs have left `before` and entered `after`; `None`: they are new, or gone."""
        if self._moved is None:
            self._moved = Counter()
        if before is not None:
            self._moved[owner, job_type, before.value] -= jobs
        if after is not None:
            self._moved[owner, job_type, after.value] += jobs

    def commit(self) -> None:
        if self._moved:
            rows = [(*key, jobs) for key, jobs in self._moved.items() if jobs]
            self.executemany(SQL["count"], rows)
        super().commit()
        self._moved = None

    def rollback(self) -> None:
        self._moved = None
        super().rollback()
