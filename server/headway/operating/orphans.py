"""What crashes leave is deleted after the start: results without their job's end, jobs' directories without a record,
and in those of jobs that have ended, what only an attempt needs.
"""

import asyncio
from collections.abc import Mapping
from itertools import islice

from ..clock import utc_now
from ..domain.ids import JobIds
from ..loops import Loop, Loops
from ..ports.files import Orphans
from ..ports.housekeeping import Housekeeping

SWEEP_BATCH = 500
NEXT_BATCH_S = 0.1
"""So that looking through a million directories takes a few minutes, and a few percent of a core."""


class OrphanSweep:
    """Looks through all results and directories once, these a batch at a time, while the server is already at work.

    A submission's directory is there before its record is. So the sweep leaves alone what `ids` makes from its start
    on, and with that whatever this server accepts: ids grow strictly, even if the clock is set back.
    """

    def __init__(self, store: Housekeeping, files: Orphans, ids: JobIds) -> None:
        self._store = store
        self._directories = files.job_ids()
        self._files = files
        self._end, _ = ids.new(utc_now())
        self._results_done = self._done = False
        self._batch: list[str] = []
        """The directories that are looked at now: again, if the record could not be read."""
        self._loop: Loop | None = None

    def start(self, loops: Loops) -> None:
        self._loop = loops.start("orphans", self._sweep_batch, until=lambda: self._done)

    async def stop(self) -> None:
        if self._loop is not None:
            await self._loop.stop()

    async def _sweep_batch(self) -> float:
        if not self._results_done:
            await self._store.discard_orphaned_results()
            self._results_done = True
        if not self._batch:
            self._batch = await asyncio.to_thread(lambda: list(islice(self._directories, SWEEP_BATCH)))
            self._done = not self._batch
        old = [job_id for job_id in self._batch if job_id < self._end]
        for orphan in set(old) - await self._store.existing(old):
            await asyncio.to_thread(self._files.remove_job, orphan)
        ended = await self._store.ended(old)
        await asyncio.to_thread(self._tidy, ended)
        self._batch = []
        return NEXT_BATCH_S

    def _tidy(self, ended: Mapping[str, bool]) -> None:
        for job_id, has_output in ended.items():
            self._files.tidy(job_id, has_output=has_output)
