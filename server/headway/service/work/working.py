"""What a worker does with a job of a type without a handler: claim it, report, read its files, end it."""

import asyncio
from contextlib import nullcontext
from pathlib import Path
from typing import Any, BinaryIO

from ...authoring.job_types import Registry
from ...domain.access import Caller
from ...domain.jobs import Job, JobError
from ...errors import JobTypeNotFoundError, LeaseLostError, NotAllowedError, OutputNotFoundError, StoreUnavailableError
from ...loops import uncancellable
from ...ports.files import AttemptFiles
from ...ports.work import Lease, Workplace
from ..admission import Admission
from ..waiting import Waiting


class Working:
    """The use cases of workers. A caller needs the right to work on the type, and then sees the jobs of all owners that
    it claims, as a handler would: their inputs, as long as the lease lasts.
    """

    def __init__(
        self, workplace: Workplace, registry: Registry, admission: Admission, waiting: Waiting, files: AttemptFiles
    ) -> None:
        self._workplace = workplace
        self._registry = registry
        self._admission = admission
        self._waiting = waiting
        self._files = files

    async def claim(
        self, caller: Caller, type_name: str, wait_s: float, *, client: str, owner: str | None
    ) -> Lease | None:
        """A lease on a job of the type; `None` if there is none within `wait_s` seconds.

        `client` and `owner` are those whose simultaneous waits are counted together. Raises `NotAllowedError`,
        `JobTypeNotFoundError`, `StoppingError` and `TooManyWaitsError`.
        """
        self.check(caller, type_name)
        self._admission.check_running()
        with self._waiting.counted(client, owner) if wait_s else nullcontext():
            return await self._workplace.claim(type_name, caller.key_id, wait_s)

    def lease(self, caller: Caller, type_name: str, token: str) -> Lease:
        """The caller's lease on a job of the type. Raises `LeaseLostError`."""
        return self._workplace.find(token, type_name, caller.key_id)

    async def reported(self, caller: Caller, type_name: str, token: str) -> Job:
        """The job whose end was reported with this lease, once it is durable. Raises like `lease` if there is none."""
        job = await self._workplace.reported(token, type_name, caller.key_id)
        if job is None:
            raise LeaseLostError
        return job

    async def complete(self, lease: Lease, result: Any, result_url: str | None) -> Job:
        """The job after it has ended with this result. Raises `ValueError` for the URL, and `LeaseLostError`."""
        return await lease.complete(result, result_url)

    async def fail(self, lease: Lease, error: JobError, *, retry: bool) -> Job:
        """The job after an attempt that failed. With `retry` it is queued again, if it has another attempt left."""
        return await lease.fail(error, retry=retry)

    async def open_input(self, lease: Lease, field: str) -> BinaryIO:
        """The upload of that field, opened; the caller closes it. Raises `OutputNotFoundError` if there is none."""
        job = lease.claim.job
        if all(upload.field != field for upload in job.uploads):
            raise OutputNotFoundError("The job has no upload of that name.")
        try:
            return await asyncio.to_thread(self._files.open_input, job.id, field)
        except OSError as error:
            raise StoreUnavailableError(f"the upload cannot be read: {error.strerror}") from error

    async def add_output(self, lease: Lease, arrived: Path, name: str) -> None:
        """Make a file that has arrived an output of the attempt, to be published when it completes.

        Raises `LeaseLostError`, and `StoreUnavailableError`.
        """
        with lease.adding_output():
            try:
                await uncancellable(asyncio.to_thread(self._files.add_output, lease.claim.job, arrived, name))
            except OSError as error:
                raise StoreUnavailableError(f"the file cannot be stored: {error.strerror}") from error

    def check(self, caller: Caller, type_name: str) -> None:
        """Raises `NotAllowedError` and `JobTypeNotFoundError` unless the caller may do jobs of the type."""
        if not caller.may_work_on(type_name):
            raise NotAllowedError("The API key does not have the right to work on jobs of this type.")
        job_type = self._registry.get(type_name)
        if job_type is None:
            raise JobTypeNotFoundError(type_name)
        if not job_type.is_remote:
            raise NotAllowedError("The server does the jobs of this type itself.")
