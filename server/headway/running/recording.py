"""Recording how an attempt ended: until the store takes it, whatever is cancelled meanwhile."""

import asyncio

import structlog

from ..clock import utc_now
from ..domain.jobs import Job
from ..domain.outcomes import Outcome
from ..errors import ClaimLostError, JobNotFoundError, StoreUnavailableError
from ..loops import uncancellable
from ..ports.files import AttemptFiles
from ..ports.jobs import AttemptRecord
from .attempt import Attempt

RECORD_AGAIN_AFTER_S = 0.5

log = structlog.get_logger(__name__)


class Recorder:
    """Records outcomes, and deletes the files that an ended attempt no longer needs."""

    def __init__(self, store: AttemptRecord, files: AttemptFiles) -> None:
        self._store = store
        self._files = files

    async def record(self, attempt: Attempt, outcome: Outcome) -> Job | None:
        """The job as recorded, `None` if the claim was lost."""
        recorded = await uncancellable(self._finish(attempt, outcome))
        if recorded is None or attempt.left_nothing:
            return recorded
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


async def store_checkpoint(store: AttemptRecord, attempt: Attempt, checkpoint_json: str) -> None:
    """Record a checkpoint, which is a sign of progress too. Raises `ClaimLostError` and `StoreUnavailableError`."""
    attempt.began()
    await store.checkpoint(attempt.job.id, attempt.job.attempt, checkpoint_json)
