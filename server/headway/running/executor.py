"""One attempt of one job: resolve, perform, classify, record.

Knows nothing of claiming or HTTP. `Executor.execute` reads as the life of an attempt; what a handler's end
means is decided in `_classify`, in one place for both kinds of handler.
"""

import asyncio
import math
import random
import time
import traceback
from collections.abc import Awaitable
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

import structlog
from pydantic import ValidationError

from ..authoring.contexts import Context
from ..authoring.job_types import JobType, Registry
from ..authoring.uploads import Upload
from ..clock import utc_now
from ..domain.jobs import Job, JobError, Status
from ..domain.outcomes import Cancelled, Completed, Failed, Outcome, Retry, after_failure, after_shutdown
from ..errors import ClaimLostError, JobFailed, JobNotFoundError, StoreUnavailableError
from ..metrics import JobMetrics
from ..ports.files import AttemptFiles
from ..ports.jobs import Attempts
from .attempt import Attempt, End, Raised, Returned, Stopped, StopReason
from .calling import MAX_RESULT_BYTES, describe, invalid_input, invalid_output, result_too_large
from .failure_hook import FailureHook
from .limits import RunLimits
from .processes.channel import Message
from .processes.process import Child

POLITE_CANCEL_S = 1.0
"""How long a `def` handler may look at `ctx.cancelled` by itself before it is interrupted."""
MAX_START_S = 60.0
"""What a process may take, on a busy machine, before its handler begins and can fall silent."""
RECORD_AGAIN_AFTER_S = 0.5

log = structlog.get_logger(__name__)
T = TypeVar("T")

STOPPED_BY_ITSELF = JobError(
    type="handler-error",
    title="The job's handler was cancelled from inside",
    detail="Nobody asked the job to stop: something that it waited for was cancelled.",
    status=500,
)


class Executor:
    """Runs attempts. One for the server; `execute` may run many times at once."""

    def __init__(
        self,
        store: Attempts,
        registry: Registry,
        files: AttemptFiles,
        limits: RunLimits,
        *,
        metrics: JobMetrics | None = None,
        failures: FailureHook | None = None,
    ) -> None:
        self._store = store
        self._registry = registry
        self._files = files
        self._limits = limits
        self._metrics = metrics or JobMetrics()
        self._failures = failures or FailureHook()
        self.abandoned: set[asyncio.Task[Any]] = set()
        """Handlers that swallowed their cancellation: fenced off, but still in the loop."""

    async def execute(self, attempt: Attempt) -> None:
        """Carry one claimed attempt to its recorded end. Raises only `CancelledError`."""
        bound = structlog.contextvars.bound_contextvars(job_id=attempt.job.id, attempt=attempt.job.attempt)
        with bound:
            self._count_wait(attempt.job)
            started_s = time.monotonic()
            try:
                end = await self._perform(attempt)
            except Exception as error:
                log.exception("the attempt could not be performed")
                end = Raised(_error("server-error", "The server could not run the job", describe(error)))
            outcome = await self._classify(attempt, end)
            recorded = await self._record(attempt, outcome)
            run_s = time.monotonic() - started_s
            word = _in_a_word(outcome, recorded)
            self._metrics.ran[attempt.job.type, word].observe(run_s)
            if recorded is not None and recorded.status is Status.FAILED:
                self._failures.report(recorded, end.exception if isinstance(end, Raised) else None)
            log.info("attempt ended", type=attempt.job.type, outcome=word, run_s=round(run_s, 3))

    def _count_wait(self, job: Job) -> None:
        if job.started_at is not None and not job.interruptions:  # else it ran for a part of that time
            waited_s = (job.started_at - job.run_at).total_seconds()
            self._metrics.waited[job.type].observe(max(0.0, waited_s))

    # Perform

    async def _perform(self, attempt: Attempt) -> End:
        job_type = self._registry.get(attempt.job.type)
        if job_type is None:
            return Raised(_error("unavailable", "The server does not know this job type any more", None))
        return await (self._perform_async if job_type.is_async else self._perform_process)(attempt, job_type)

    async def _perform_async(self, attempt: Attempt, job_type: JobType) -> End:
        job = attempt.job
        context = Context(
            job_id=job.id,
            attempt=job.attempt,
            owner=job.owner,
            directories=self._files.directories(job),
            reported=attempt.reported,
            logs=attempt.logs,
            checkpoint_json=attempt.claim.checkpoint_json,
            async_checkpoint=partial(self._store_checkpoint, attempt),
        )
        try:
            parsed = job_type.parse_input(attempt.claim.input_json, self._uploads(job))
        except ValidationError as error:
            return _raised(JobFailed(**invalid_input(error)))
        task = asyncio.create_task(job_type.call(context, parsed), name=f"job:{job.type}:{job.id}")
        try:
            await self._until_stopped(attempt, task)
            if not task.done():
                context._cancelled = True  # noqa: SLF001 - set by the server's side only
                task.cancel()
                await asyncio.wait({task}, timeout=attempt.grace_s)
        finally:
            if not task.done():
                self._abandon(attempt, task)
        return _async_end(task, job_type, context)

    async def _perform_process(self, attempt: Attempt, job_type: JobType) -> End:
        attempt.last_sign_s += MAX_START_S  # a new process is no silent handler; it says when it has begun
        child = Child(self._start_message(attempt, job_type), attempt, partial(self._checkpoint_for_child, attempt))
        task = asyncio.create_task(child.run(), name=f"job:{attempt.job.type}:{attempt.job.id}")
        try:
            await self._until_stopped(attempt, task)
            if not task.done():
                await _stop_child(child, task, attempt)
            final = await task
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
        return _process_end(final)

    async def _until_stopped(self, attempt: Attempt, task: asyncio.Task[Any]) -> None:
        """Until the handler ends, its time is up, or somebody asks it to stop."""
        started_s = time.monotonic()
        ends = {task, attempt.asked_to_stop}
        while not task.done() and attempt.stop_reason is None:
            reason, left_s = self._next_limit(attempt, started_s)
            if left_s is not None and left_s <= 0:
                attempt.stop(reason, self._limits.cancel_grace_s)
            await asyncio.wait(ends, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)

    def _next_limit(self, attempt: Attempt, started_s: float) -> tuple[StopReason, float | None]:
        """Which limit comes first, and in how many seconds to look again; `None` if there is no limit."""
        now_s = time.monotonic()
        timeout_s = attempt.job.timeout_s
        job_type = self._registry.get(attempt.job.type)
        stall_s = None if job_type is None else job_type.stall_timeout_s
        run_left_s = math.inf if timeout_s is None else started_s + timeout_s - now_s
        stall_left_s = math.inf if stall_s is None else attempt.last_sign_s + stall_s - now_s
        reason = StopReason.TIMEOUT if run_left_s <= stall_left_s else StopReason.STALLED
        # A process was given time to begin; once it has, silence counts from there, which is sooner.
        left_s = min(run_left_s, stall_left_s, math.inf if stall_s is None else stall_s)
        return reason, None if left_s == math.inf else left_s

    def _abandon(self, attempt: Attempt, task: asyncio.Task[Any]) -> None:
        """Give up on a handler that does not end: its slot and its writes are lost to it."""
        log.error("the handler swallowed its cancellation and was abandoned", type=attempt.job.type)
        self.abandoned.add(task)

        def ended(task: asyncio.Task[Any]) -> None:
            self.abandoned.discard(task)
            if not task.cancelled():
                task.exception()  # so that asyncio does not complain that nobody looked

        task.add_done_callback(ended)

    def _uploads(self, job: Job) -> dict[str, Upload]:
        return {
            file.field: Upload(self._files.input(job.id, file.field), file.filename, file.content_type, file.size_bytes)
            for file in job.uploads
        }

    def _start_message(self, attempt: Attempt, job_type: JobType) -> Message:
        job = attempt.job
        directories = self._files.directories(job)
        return {
            "source": job_type.source,
            "type": job.type,
            "job_id": job.id,
            "attempt": job.attempt,
            "owner": job.owner,
            "input": attempt.claim.input_json,
            "checkpoint": attempt.claim.checkpoint_json,
            "work": directories.work,
            "output": directories.output,
            "data": directories.data,
            "lock": str(self._files.lock_file(job.id)),
            "uploads": [
                [field, str(upload.path), upload.filename, upload.content_type, upload.size_bytes]
                for field, upload in self._uploads(job).items()
            ],
        }

    async def _store_checkpoint(self, attempt: Attempt, checkpoint_json: str) -> None:
        attempt.last_sign_s = time.monotonic()
        await self._store.checkpoint(attempt.job.id, attempt.job.attempt, checkpoint_json)

    async def _checkpoint_for_child(self, attempt: Attempt, checkpoint_json: str) -> str:
        """Store a child's checkpoint; the word to answer with."""
        try:
            await self._store_checkpoint(attempt, checkpoint_json)
        except ClaimLostError:
            return "lost"
        except StoreUnavailableError as error:
            log.warning("a checkpoint could not be stored", reason=str(error))
            return "failed"
        return "stored"

    # Classify

    async def _classify(self, attempt: Attempt, end: End) -> Outcome:  # noqa: PLR0911 - one clear match
        """What the end means for the job. Output becomes durable before the row that names it."""
        reason = attempt.stop_reason
        match end:
            case Returned():
                return await self._completed(attempt, end)
            case Raised(error, final=True):
                attempt.logs.add("error", error.text)
                return Failed(error)
            case _ if reason is StopReason.SHUTDOWN:
                return self._interrupted(attempt)
            case _ if reason is StopReason.TIMEOUT or reason is StopReason.STALLED:
                return self._failed(attempt, _timed_out(attempt))
            case Stopped() if reason is StopReason.CANCEL:
                return Cancelled()
            case Stopped():
                return self._failed(attempt, STOPPED_BY_ITSELF)
            case Raised(error):
                return self._failed(attempt, error)

    def _interrupted(self, attempt: Attempt) -> Outcome:
        """The server stops: the job waits for the next one, unless its type says that it must not run twice."""
        job_type = self._registry.get(attempt.job.type)
        return after_shutdown(may_restart=job_type is None or job_type.on_interrupt == "requeue")

    async def _completed(self, attempt: Attempt, end: Returned) -> Outcome:
        if not self._files.has_output(attempt.job):
            return Completed(end.result_json, result_url=end.result_url)
        try:
            files, left_out = await asyncio.to_thread(self._files.publish_output, attempt.job)
        except OSError as error:
            return self._failed(attempt, _error("output-lost", "The output could not be stored", describe(error)))
        for name in left_out:
            attempt.logs.add("warning", f"not offered for download, only plain files are: {name}")
        return Completed(end.result_json, files, end.result_url)

    def _failed(self, attempt: Attempt, error: JobError) -> Outcome:
        """A failure that another attempt may mend, if the job has one left."""
        attempt.logs.add("error", error.text)
        now = _now()
        outcome = after_failure(attempt.job, error, now, random.random())  # noqa: S311 - jitter keeps no secret
        if isinstance(outcome, Retry):
            delay_s = (outcome.run_at - now).total_seconds()
            attempt.logs.add("info", f"attempt {attempt.job.attempt} failed, the next one starts in {delay_s:.0f} s")
        return outcome

    # Record

    async def _record(self, attempt: Attempt, outcome: Outcome) -> Job | None:
        """The job as recorded, `None` if the claim was lost."""
        recorded = await uncancellable(self._record_until_done(attempt, outcome))
        if recorded is None:
            return None
        if not self._files.has_any(attempt.job.id):
            return recorded  # most jobs have no files: a look costs less than two hops to a thread
        if not recorded.files:
            await asyncio.to_thread(self._files.discard_output, attempt.job)
        if recorded.terminal:
            await asyncio.to_thread(self._files.discard_work, attempt.job)
        return recorded

    async def _record_until_done(self, attempt: Attempt, outcome: Outcome) -> Job | None:
        """The job as recorded, `None` if the claim was lost. A store that cannot write is asked again."""
        lines = attempt.logs.take(final=True)
        progress = attempt.read_progress() or attempt.published
        while True:
            try:
                return await self._store.finish(attempt.job, outcome, progress, lines, _now())
            except (ClaimLostError, JobNotFoundError):
                log.warning("the claim was lost, the attempt's outcome is dropped")
                return None
            except StoreUnavailableError as error:
                log.error("the outcome could not be recorded yet", reason=str(error))  # noqa: TRY400
                await asyncio.sleep(RECORD_AGAIN_AFTER_S)


def _in_a_word(outcome: Outcome, recorded: Job | None) -> str:
    """How the attempt ended: as the record says, where a cancel may have come first."""
    if recorded is None:
        return "lost"
    return recorded.status.value if recorded.terminal else type(outcome).__name__.lower()


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


async def _stop_child(child: Child, task: asyncio.Task[Message], attempt: Attempt) -> None:
    """Ask, interrupt, kill: each after the last had its time."""
    polite_s = min(POLITE_CANCEL_S, attempt.grace_s / 4)
    child.cancel()
    await asyncio.wait({task}, timeout=polite_s)
    if not task.done():
        child.terminate()
        await asyncio.wait({task}, timeout=max(0.0, attempt.grace_s - polite_s))
    if not task.done():
        log.warning("the handler did not stop in time and was killed", type=attempt.job.type)
        child.kill()


def _async_end(task: asyncio.Task[Any], job_type: JobType, context: Context) -> End:
    if not task.done() or task.cancelled():
        return Stopped()
    error = task.exception()
    if isinstance(error, JobFailed):
        return Raised(_shown(error), final=True, exception=error)
    if error is not None:
        text = "".join(traceback.format_exception(error))
        log.warning("the handler raised", type=job_type.name, traceback=text)
        final = isinstance(error, job_type.no_retry)
        return Raised(_handler_error(describe(error)), final=final, exception=error)
    return _returned(task.result(), job_type, context)


def _returned(value: Any, job_type: JobType, context: Context) -> End:
    try:
        encoded = job_type.encode_output(value)
        if len(encoded) > MAX_RESULT_BYTES:
            return _raised(JobFailed(**result_too_large()))
        return Returned(encoded, context.result_url)
    except ValidationError as invalid:
        return _raised(JobFailed(**invalid_output(invalid)))
    except Exception as invalid:  # noqa: BLE001 - a return value can break its serialiser in any way
        return Raised(_error("invalid-output", "The result cannot be written as JSON", describe(invalid)))


def _process_end(message: Message) -> End:
    match message:
        case {"completed": result_json, "result_url": result_url}:
            return Returned(result_json, result_url)
        case {"failed": [kind, title, detail, status]}:
            return Raised(JobError(kind, title, detail, status), final=True)
        case {"stopped": _}:
            return Stopped()
        case {"raised": text, "traceback": trace, "final": final}:
            log.warning("the handler raised", traceback=trace)
            return Raised(_handler_error(text), final=final)
        case _:
            code = message.get("died")
            how = f"by signal {-code}" if isinstance(code, int) and code < 0 else f"with exit code {code}"
            return Raised(_error("process-died", "The job's process ended unexpectedly", f"It ended {how}."))


def _raised(failure: JobFailed) -> Raised:
    return Raised(_shown(failure), final=True)


def _shown(failure: JobFailed) -> JobError:
    return JobError(failure.type, failure.title, failure.detail, failure.status)


def _handler_error(detail: str) -> JobError:
    return _error("handler-error", "The job's handler raised an error", detail)


def _timed_out(attempt: Attempt) -> JobError:
    if attempt.stop_reason is StopReason.STALLED:
        return _error("stalled", "The job showed no sign of progress", "It was stopped, as its type asks.")
    limit = attempt.job.timeout_s
    detail = None if limit is None else f"The limit is {limit:g} s."
    return _error("timeout", "The job took longer than it may", detail)


def _error(kind: str, title: str, detail: str | None) -> JobError:
    return JobError(type=kind, title=title, detail=detail, status=500)


def _now() -> datetime:
    now = utc_now()
    return now.replace(microsecond=now.microsecond // 1000 * 1000)
