"""Recording how an attempt ended: until the store takes it, whatever is cancelled meanwhile."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

import structlog

from ..clock import utc_now
from ..domain.jobs import Job
from ..domain.outcomes import Outcome
from ..errors import ClaimLostError, JobNotFoundError, StoreUnavailableError
from ..ports.files import AttemptFiles
from ..ports.jobs import Attempts
from .attempt import Attempt

RECORD_AGAIN_AFTER_S = 0.5

log = structlog.get_logger(__name__)
T = TypeVar("T")


class Recorder:
    """Records outcomes, and deletes the files that an ended attempt no longer needs."""

    def __init__(self, store: Attempts, files: AttemptFiles) -> None:
        self._store = store
        self._files = files

    async def record(self, attempt: Attempt, outcome: Outcome) -> Job | None:
        """The job as recorded, `None` if the claim was lost."""
        recorded = await uncancellable(self._finish(attempt, outcome))
        if recorded is None:
            return None
        if recorded.terminal:
            self._files.discard_lock(recorded.id)
        if not self._files.has_any(attempt.job.id):
            return recorded  # most jobs have no files: checking costs less than a hop to a thread
        await asyncio.to_thread(self._discard_files, attempt.job, recorded)
        return recorded

    def _discard_files(self, job: Job, recorded: Job) -> None:
        if not recorded.files:
            self._files.discard_output(job)
        if recorded.terminal:
            self._files.discard_work(job)

    async def _finish(self, attempt: Attempt, outcome: Outcome) -> Job | None:
        lines = attempt.logs.take(final=True)
        progress = attempt.read_progress() or attempt.published
        while True:
            try:
                return await self._store.finish(attempt.job, outcome, progress, lines, utc_now(), attempt.usage)
            except (ClaimLostError, JobNotFoundError):
                log.warning("the claim was lost, so the attempt's outcome is dropped")
                return None
            except StoreUnavailableError as error:
                log.error("the outcome could not be recorded yet", reason=str(error))  # noqa: TRY400
                attempt.slot.take()  # else jobs could go on being claimed while outcomes pile up
                await asyncio.sleep(RECORD_AGAIN_AFTER_S)


async def uncancellable(awaitable: Awaitable[T]) -> T:
    """Await to the end, however often the caller is cancelled meanwhile; then let the cancellation go on."""
    task = asyncio.ensure_future(awaitable)
    cancelled = False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            cancelled = not task.cancelled()
        except Exception:  # noqa: BLE001, S110 - raised by result() below
            pass
    if cancelled and not task.cancelled() and task.exception() is None:
        raise asyncio.CancelledError
    return task.result()
