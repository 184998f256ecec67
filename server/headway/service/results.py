"""Results and output files: reading them, deleting them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import BinaryIO

from ..clock import utc_now
from ..domain.access import Caller
from ..domain.jobs import Job, OutputFile, Status
from ..errors import JobHasFailedError, NotFinishedError, OutputNotFoundError, ResultGoneError, StoreUnavailableError
from ..ports.files import Outputs
from ..ports.jobs import Control
from ..representation import error_fields, poll_after_s, shows_result
from .reading import Reading

FILES_PER_PAGE = 200


class Results:
    """What jobs have made."""

    def __init__(self, store: Control, reading: Reading, files: Outputs) -> None:
        self._store = store
        self._reading = reading
        self._files = files

    async def value(self, job: Job) -> bytes:
        """What the handler returned, as JSON text. Raises like `check_completed`, and `ResultGoneError` if deleted."""
        check_completed(job)
        documents = await self._reading.documents(job, with_result=True)
        if documents.result_json is None:
            deleted = job.result_bytes is None
            raise ResultGoneError("The result was deleted." if deleted else "The record of the result is damaged.")
        return documents.result_json.encode()

    async def inline(self, job: Job) -> bytes:
        """What the handler returned, as JSON text, if it is at most 64 KiB; otherwise `null`."""
        if not shows_result(job):
            return b"null"
        documents = await self._reading.documents(job, with_result=True)
        return (documents.result_json or "null").encode()

    async def open_output(self, job: Job, name: str) -> tuple[OutputFile, BinaryIO]:
        """The output file of that name, opened; the caller closes it.

        Raises `OutputNotFoundError`, and `StoreUnavailableError` if it cannot be opened now.
        """
        file = await self._reading.file(job, name)
        if file is None:
            raise OutputNotFoundError("The job has no such file.")
        return file, await asyncio.to_thread(self.open_file, job, name)

    def open_file(self, job: Job, name: str) -> BinaryIO:
        """The file of that name, which the record has; the caller closes it. Blocks. Raises like `open_output`."""
        try:
            return self._files.open_output(job.id, name)
        except (FileNotFoundError, PermissionError):
            raise OutputNotFoundError("The file is no longer there.") from None
        except OSError as error:
            raise StoreUnavailableError(f"the file cannot be opened: {error.strerror}") from error

    async def pages(self, job: Job) -> AsyncIterator[Sequence[OutputFile]]:
        """All output files, by name: a job may have too many to hold at once."""
        cursor: str | None = ""
        while cursor is not None:
            page = await self._reading.files(job, cursor, FILES_PER_PAGE)
            yield page.files
            cursor = page.next_cursor

    def check_files(self, job: Job) -> None:
        """Raises like `check_completed`, and `ResultGoneError` if the files were deleted."""
        check_completed(job)
        if job.result_bytes is None:
            raise ResultGoneError("The files were deleted.")

    def download_name(self, job: Job, name: str | None) -> str:
        """Which file a download without a name means: the first by name. Raises like `check_files`, too."""
        self.check_files(job)
        if not job.files:
            raise OutputNotFoundError("The job produced no file.")
        return job.files[0].name if name is None else name

    async def delete(self, caller: Caller, job_id: str) -> None:
        """Delete result and output files, and keep the record. Raises `NotFinishedError` before the end."""
        job = await self._reading.job(caller, job_id)
        if not job.terminal:
            raise not_finished(job)
        await self._store.delete_result(job.owner, job.id, utc_now(), caller.actor)
        await asyncio.to_thread(self._files.discard_output, job)


def check_completed(job: Job) -> None:
    """Raises `NotFinishedError`, `JobHasFailedError` or `ResultGoneError` if the job has no result to show."""
    if not job.terminal:
        raise not_finished(job)
    if job.status is Status.FAILED:
        raise JobHasFailedError(
            None if job.error is None else job.error.title, None if job.error is None else error_fields(job.error)
        )
    if job.status is Status.CANCELLED:
        raise ResultGoneError("The job was cancelled.")


def not_finished(job: Job) -> NotFinishedError:
    """The error that says when to ask again."""
    return NotFinishedError(f"The job is {job.status}.", poll_after_s(job))
