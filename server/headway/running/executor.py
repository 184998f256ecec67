"""One attempt of one job, step by step: perform, decide, record, report.

Knows nothing of claiming or HTTP. How a handler ended is a `calling.End`, the same for both kinds of handler; what that
means for the job is decided in `_decide`, and nowhere else.
"""

import asyncio
import random
import time
from contextlib import suppress
from functools import partial
from typing import Any

import structlog

from ..authoring.job_types import JobType, Registry
from ..clock import utc_now
from ..domain.attempts import attempt_outcome
from ..domain.jobs import Job, JobError, Status
from ..domain.outcomes import (
    Cancelled,
    Completed,
    Failed,
    Interrupted,
    Outcome,
    Retry,
    after_crash,
    after_failure,
    after_shutdown,
)
from ..errors import InvalidOutputError, QuotaExceededError
from ..metrics import JobMetrics
from ..ports.files import AttemptFiles
from ..ports.jobs import AttemptRecord
from ..tracebacks import describe
from .attempt import Attempt, StopReason
from .bounds.watching import too_much_written
from .calling import End, Lost, NotBegun, Raised, Returned, Stopped
from .failure_hook import FailureHook
from .limits import RunLimits
from .performing import Performer
from .processes.partner import Partners
from .processes.processes import Processes
from .recording import Recorder
from .remote.workers import Workers

log = structlog.get_logger(__name__)

STOPPED_BY_ITSELF = JobError(
    type="handler-error",
    title="The job's handler was cancelled from within",
    detail="The job was not cancelled, but something that its handler awaited was.",
    status=500,
)
CANCELLED_BY_OTHERS = "the attempt's task was cancelled, and not by the server: the attempt was interrupted"


class Executor:
    """Runs attempts. One for the server; `execute` may run many times at once."""

    def __init__(
        self,
        store: AttemptRecord,
        registry: Registry,
        files: AttemptFiles,
        limits: RunLimits,
        *,
        processes: Partners | None = None,
        workers: Workers | None = None,
        metrics: JobMetrics | None = None,
        failures: FailureHook | None = None,
    ) -> None:
        """`processes`: how children of `def` handlers start; by default each is a new interpreter.

        `workers`: who does the jobs of types without a handler.
        """
        self._store = store
        self._registry = registry
        self._files = files
        self._limits = limits
        workers = workers or Workers(store, registry)
        self._performer = Performer(store, files, limits, processes or Processes(), workers)
        registry.when_changed(self._performer.renew)
        self._recorder = Recorder(store, files)
        self._metrics = metrics or JobMetrics()
        self._failures = failures or FailureHook()

    @property
    def abandoned(self) -> set[asyncio.Task[Any]]:
        """Handlers and dependencies that swallowed their cancellation and are still in the loop."""
        return self._performer.abandoned

    async def close(self) -> None:
        """Clean up what handlers depended on. No attempt runs any more."""
        await self._performer.close()

    async def execute(self, attempt: Attempt) -> None:
        """Carry one claimed attempt to its recorded end. To be called in a task of its own."""
        # Bound for good: every attempt has a task, and so a context, of its own.
        structlog.contextvars.bind_contextvars(job_id=attempt.job.id, attempt=attempt.job.attempt)
        self._count_wait(attempt.job)
        started_s = time.monotonic()
        job_type = self._registry.get(attempt.job.type)  # once: the types may change while it runs
        end = await self.perform(attempt, job_type)
        await self.conclude(attempt, job_type, end, time.monotonic() - started_s)

    async def conclude(
        self, attempt: Attempt, job_type: JobType | None, end: End | Lost | NotBegun, run_s: float
    ) -> None:
        """Decide what an end means for the job, and record it. `run_s`: how long the attempt ran, in seconds."""
        outcome = await self._decide(attempt, job_type, end)
        attempt.slot.leave()  # now, so that the next claim is in the transaction that records this end
        recorded = attempt.recorded = await self._recorder.record(attempt, outcome)
        self._report(attempt, outcome, recorded, run_s)
        self._report_failure(end, recorded)

    def _count_wait(self, job: Job) -> None:
        if job.started_at is not None and not job.interruptions:  # otherwise it ran for a part of that time
            waited_s = (job.started_at - job.run_at).total_seconds()
            self._metrics.waited[job.type].observe(max(0.0, waited_s))

    # Perform

    async def perform(self, attempt: Attempt, job_type: JobType | None) -> End | Lost | NotBegun:
        """Perform it. Who cancels this task, which the server does not before it has stopped the attempt, loses it."""
        with suppress(asyncio.CancelledError):
            return await self._perform(attempt, job_type)
        if attempt.stop_reason is None:
            log.error("the task of an attempt was cancelled by something other than the server")
        return Lost(CANCELLED_BY_OTHERS)

    async def _perform(self, attempt: Attempt, job_type: JobType | None) -> End | Lost | NotBegun:
        if job_type is None:  # gone since the job was claimed: it waits until the type is there again
            return NotBegun()
        try:
            end = await self._performer.perform(attempt, job_type)
        except Exception as error:
            log.exception("the attempt could not be performed")
            return Raised(_error("server-error", "The server could not run the job", describe(error)), exception=error)
        if isinstance(end, Raised) and end.traceback is not None:
            log.warning("the handler raised", type=job_type.name, traceback=end.traceback)
        return end

    # Decide

    async def _decide(  # noqa: PLR0911 - one clear match
        self, attempt: Attempt, job_type: JobType | None, end: End | Lost | NotBegun
    ) -> Outcome:
        """What the end means for the job. Output becomes durable before the row that names it."""
        reason = attempt.stop_reason
        match end:
            case Returned():
                return await self._completed(attempt, job_type, end)
            case Raised(error, final=True):
                attempt.logs.note("error", error.text)
                return Failed(error)
            case NotBegun():
                return Interrupted()
            case _ if reason is StopReason.SHUTDOWN:
                return after_shutdown(may_restart=job_type is None or job_type.on_interrupt == "requeue")
            case _ if (exceeded := _over_limit(attempt)) is not None:
                return self._failed(attempt, exceeded)
            case Lost():
                return self._lost(attempt, job_type, end)
            case Stopped() if reason is StopReason.CANCEL:
                return Cancelled()
            case Stopped():
                return self._failed(attempt, STOPPED_BY_ITSELF)
            case Raised(error):
                return self._failed(attempt, error)

    async def _completed(self, attempt: Attempt, job_type: JobType | None, end: Returned) -> Outcome:
        if job_type is not None and job_type.limits.max_output_mib is not None:  # the last look was a while ago
            written = partial(self._files.written_bytes, attempt.job)
            error = await asyncio.to_thread(too_much_written, job_type.limits, written)
            if error is not None:
                return self._failed(attempt, error)
        if attempt.left_nothing or not self._files.has_output(attempt.job):
            return self._within_quotas(attempt, Completed(end.result_json, result_url=end.result_url))
        try:
            published = await asyncio.to_thread(self._files.publish_output, attempt.job)
        except OSError as error:
            return self._failed(attempt, _error("output-lost", "The output could not be stored", describe(error)))
        except InvalidOutputError as error:
            invalid = _error("invalid-output", str(error), error.detail)
            attempt.logs.add("error", invalid.text)
            return Failed(invalid)
        for note in published.notes:
            attempt.logs.note("warning", note)
        return self._within_quotas(attempt, Completed(end.result_json, published.files, end.result_url))

    def _within_quotas(self, attempt: Attempt, completed: Completed) -> Outcome:
        """The outcome, unless result and files do not fit into what may be kept: then the job has failed."""
        try:
            self._store.hold_output(attempt.job, completed.kept_bytes)
        except QuotaExceededError as error:
            detail = f"{error} The result and the files have {completed.kept_bytes:,} bytes."
            failed = JobError("storage-quota-exceeded", "The output does not fit into the storage quota", detail, 507)
            attempt.logs.note("error", failed.text)
            return Failed(failed)
        return completed

    def _lost(self, attempt: Attempt, job_type: JobType | None, lost: Lost) -> Outcome:
        """The process or worker that ran it has gone. Like a crash of the server, this is not a failure of the job."""
        limit = job_type.recovery_limit if job_type is not None else None
        outcome = after_crash(attempt.job, self._limits.max_recoveries if limit is None else limit, lost.error)
        attempt.logs.note("warning", lost.how)
        return outcome

    def _failed(self, attempt: Attempt, error: JobError) -> Outcome:
        """A failure, and another attempt if the job has one left."""
        attempt.logs.note("error", error.text)
        now = utc_now()
        outcome = after_failure(attempt.job, error, now, random.random())  # noqa: S311 - jitter keeps no secret
        if isinstance(outcome, Retry):
            delay_s = (outcome.run_at - now).total_seconds()
            attempt.logs.note("info", f"attempt {attempt.job.attempt} failed, the next one starts in {delay_s:.0f} s")
        return outcome

    # Report

    def _report(self, attempt: Attempt, outcome: Outcome, recorded: Job | None, run_s: float) -> None:
        word = _in_a_word(outcome, recorded)
        self._metrics.ran[attempt.job.type, word].observe(run_s)
        if attempt.usage is not None:
            self._metrics.peak_memory_bytes[attempt.job.type].observe(attempt.usage.peak_memory_bytes)
            self._metrics.cpu_s[attempt.job.type].observe(attempt.usage.cpu_s)
        log.info("attempt ended", type=attempt.job.type, outcome=word, run_s=round(run_s, 3))

    def _report_failure(self, end: End | Lost | NotBegun, recorded: Job | None) -> None:
        if recorded is not None and recorded.status is Status.FAILED:
            self._failures.report(recorded, end.exception if isinstance(end, Raised) else None)


def _in_a_word(outcome: Outcome, recorded: Job | None) -> str:
    """How the attempt ended, by the record, where a cancel may have come first."""
    if recorded is None:
        return "lost"
    return attempt_outcome(recorded, outcome).value


def _over_limit(attempt: Attempt) -> JobError | None:
    """The limit because of which the attempt was stopped, if that is why."""
    if attempt.stop_reason is StopReason.LIMIT:
        return attempt.exceeded
    if attempt.stop_reason is StopReason.STALLED:
        return _error(
            "stalled", "The job showed no sign of progress", "It was stopped at the stall time-out of its type."
        )
    if attempt.stop_reason is not StopReason.TIMEOUT:
        return None
    limit = attempt.job.timeout_s
    detail = None if limit is None else f"The limit is {limit:g} s."
    return _error("timeout", "The job exceeded its time limit", detail)


def _error(kind: str, title: str, detail: str | None) -> JobError:
    return JobError(type=kind, title=title, detail=detail, status=500)
