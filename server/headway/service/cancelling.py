"""Cancelling and deleting jobs: recorded durably first, carried out afterwards."""

import asyncio

from ..clock import utc_now
from ..domain.access import Caller
from ..domain.ids import is_job_id
from ..domain.jobs import Job
from ..errors import JobNotFoundError, JobStateError
from ..ports.files import AttemptFiles
from ..ports.jobs import Control
from .reading import Reading


class Cancelling:
    """Two use cases: `cancel` ends a job and keeps its record, `delete` removes the record too."""

    def __init__(self, store: Control, reading: Reading, files: AttemptFiles) -> None:
        self._store = store
        self._reading = reading
        self._files = files

    async def cancel(self, caller: Caller, job_id: str) -> Job:
        """Record a cancel; the job as it then is. A running one is still running: it stops in a moment.

        Raises `JobNotFoundError`, and `JobStateError` for a job that completed or failed.
        """
        if not is_job_id(job_id):
            raise JobNotFoundError(job_id)
        job = await self._store.cancel(caller.sees, job_id, utc_now(), caller.actor)
        await self.tidy_cancelled(job)
        return job

    async def tidy_cancelled(self, job: Job) -> None:
        """Remove what an attempt that is over may have left of a job whose cancel is recorded."""
        if job.terminal and job.attempt:
            self._files.discard_lock(job.id)
            if self._files.has_any(job.id):
                await asyncio.to_thread(self._discard_files, job)

    def _discard_files(self, job: Job) -> None:
        self._files.discard_output(job)
        self._files.discard_work(job)

    async def delete(self, caller: Caller, job_id: str) -> Job:
        """Record a deletion of the job with its log and files; the job as it last was. A running job is stopped first.

        Raises `JobNotFoundError`.
        """
        if not is_job_id(job_id):
            raise JobNotFoundError(job_id)
        job = await self._store.delete(caller.sees, job_id, utc_now(), caller.actor)
        self.tidy_deleted(job)
        return job

    def tidy_deleted(self, job: Job) -> None:
        """Remove the lock of a job whose deletion is recorded. Retention deletes its files."""
        if job.terminal and job.attempt:
            self._files.discard_lock(job.id)

    async def delete_ended(self, caller: Caller, job_id: str) -> None:
        """Delete a job that has ended. Raises `JobNotFoundError`, and `JobStateError` before its end."""
        job = await self._reading.job(caller, job_id)
        if not job.terminal:  # one that has ended stays so: nothing can come between
            raise JobStateError(f"The job is {job.status}: cancel it first.")
        await self.delete(caller, job_id)
