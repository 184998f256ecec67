"""Performing an attempt: its handler runs as a task in the server's loop or in a process of its own, and is stopped.

The jobs of a type without a handler are done by workers elsewhere, which report over HTTP.
"""

import asyncio
from collections.abc import Coroutine
from contextlib import nullcontext
from functools import partial
from typing import Any

import structlog

from ..authoring.capturing import capture
from ..authoring.contexts import Context
from ..authoring.job_types import JobType
from ..authoring.uploads import Upload
from ..domain.jobs import Job
from ..errors import ClaimLostError, StoreUnavailableError
from ..ports.files import AttemptFiles
from ..ports.jobs import AttemptRecord
from .attempt import Attempt, StopReason
from .bounds.watching import Watch
from .calling import End, Lost, NotBegun, Stopped, call_async
from .deadlines import until_stopped
from .dependencies import Dependencies
from .handler_tasks import HandlerTasks, cancel, named
from .limits import RunLimits
from .processes.conversation import Conversation
from .processes.messages import CheckpointOutcome, Start
from .processes.partner import Partners
from .recording import store_checkpoint
from .remote.workers import Workers
from .subprocesses import Subprocesses

POLITE_CANCEL_S = 1.0
"""How long a `def` handler has to notice `ctx.cancelled` by itself before it is interrupted."""
MAX_START_S = 60.0
"""How long a process may take to begin on a busy machine; only then does silence count against it."""

log = structlog.get_logger(__name__)


class Performer:
    """Runs handlers of both kinds. One for the server."""

    def __init__(
        self, store: AttemptRecord, files: AttemptFiles, limits: RunLimits, processes: Partners, workers: Workers
    ) -> None:
        self._store = store
        self._files = files
        self._limits = limits
        self._processes = processes
        self._workers = workers
        self._dependencies = Dependencies()
        self._former: list[Dependencies] = []
        self._abandoned: set[asyncio.Task[Any]] = set()

    @property
    def abandoned(self) -> set[asyncio.Task[Any]]:
        """Handlers that swallowed their cancellation: they lost their slot, but are still in the loop.

        And dependencies that did the same when they were to clean up.
        """
        return self._abandoned.union(*(each.abandoned for each in (self._dependencies, *self._former)))

    async def close(self) -> None:
        """Clean up what `async def` handlers depended on. No attempt runs any more."""
        for dependencies in (self._dependencies, *self._former):
            await dependencies.close()

    def renew(self) -> None:
        """The code has changed: handlers that begin from now on have dependencies of their own."""
        self._dependencies.retire()
        self._former = [each for each in (*self._former, self._dependencies) if not each.is_closed]
        self._dependencies = Dependencies()

    def perform(self, attempt: Attempt, job_type: JobType) -> Coroutine[Any, Any, End | Lost | NotBegun]:
        """Run the handler to its end, or until it has been stopped."""
        if job_type.is_remote:
            return self._by_worker(attempt, job_type)
        return (self._in_loop if job_type.is_async else self._in_process)(attempt, job_type)

    # In the loop

    async def _in_loop(self, attempt: Attempt, job_type: JobType) -> End:
        job, processes = attempt.job, Subprocesses(attempt.left)
        context = self._context(attempt, processes)
        call = self._call(attempt, job_type, context, processes)
        task = asyncio.create_task(call, name=f"job:{job.type}:{job.id}")
        try:
            watch = self._watch(attempt, job_type, self._limits.cancel_grace_s)
            async with nullcontext() if watch is None else watch.over():
                await self._until_stopped(attempt, job_type, task)
            if not task.done():
                context.ask_to_stop()
                task.cancel()
                await asyncio.wait({task}, timeout=attempt.grace_s)
        finally:
            if not task.done():
                self._abandon(attempt, task)
                await processes.end()
        if not task.done():
            return Stopped()
        attempt.left_nothing = job.attempt == 1 and not context.has_directories
        return Stopped() if task.cancelled() else task.result()

    async def _call(self, attempt: Attempt, job_type: JobType, context: Context, processes: Subprocesses) -> End:
        """Call the handler, and end what it has started."""
        uploads, dependencies = self._uploads(attempt.job), self._dependencies
        tasks = HandlerTasks(attempt.logs, f"job:{attempt.job.type}:{attempt.job.id}")
        with capture(attempt.logs):
            dependencies.enter()
            try:
                with tasks:
                    end = await call_async(job_type, context, attempt.claim.input_json, uploads, dependencies.get)
                return await tasks.end(end, job_type, self._limits.cancel_grace_s)
            finally:
                dependencies.leave()
                await processes.end()
                await self._abandon_tasks(attempt, tasks.running)

    def _context(self, attempt: Attempt, processes: Subprocesses) -> Context:
        job = attempt.job
        return Context(
            job_id=job.id,
            attempt=job.attempt,
            owner=job.owner,
            directories=self._files.directories(job),
            reported=attempt.reported,
            logs=attempt.logs,
            checkpoint_json=attempt.claim.checkpoint_json,
            async_checkpoint=partial(store_checkpoint, self._store, attempt),
            start_process=processes.start,
        )

    def _abandon(self, attempt: Attempt, task: asyncio.Task[Any]) -> None:
        """Give up on a handler that does not end: its slot is free, and what it writes is dropped."""
        log.error("the handler swallowed its cancellation and was abandoned", type=attempt.job.type)
        task.cancel()
        self._abandoned.add(task)
        task.add_done_callback(self._abandoned.discard)

    async def _abandon_tasks(self, attempt: Attempt, left: set[asyncio.Task[Any]]) -> None:
        """The same for tasks of a handler."""
        if not left:
            return
        log.error(
            "tasks of the handler swallowed their cancellation and were abandoned",
            type=attempt.job.type,
            tasks=len(left),
            named=named(left),
        )
        self._abandoned |= left
        for task in left:
            task.add_done_callback(self._abandoned.discard)
        await cancel(left)

    # In a process

    async def _in_process(self, attempt: Attempt, job_type: JobType) -> End | Lost:
        attempt.last_sign_s += MAX_START_S
        start = self._start(attempt, job_type)
        store_checkpoint, watch = partial(self._checkpoint_of_child, attempt), self._watch(attempt, job_type, 0.0)
        conversation = Conversation(start, attempt, store_checkpoint, self._processes, watch)
        task = asyncio.create_task(conversation.run(), name=f"job:{attempt.job.type}:{attempt.job.id}")
        try:
            await self._until_stopped(attempt, job_type, task)
            if not task.done():
                await _stop(conversation, task, attempt)
            return await task
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})

    def _start(self, attempt: Attempt, job_type: JobType) -> Start:
        job = attempt.job
        return Start(
            source=job_type.source,
            type=job.type,
            job_id=job.id,
            attempt=job.attempt,
            owner=job.owner,
            input_json=attempt.claim.input_json,
            checkpoint_json=attempt.claim.checkpoint_json,
            directories=self._files.directories(job),
            lock_path=str(self._files.lock_file(job.id)),
            uploads=self._uploads(job),
        )

    async def _checkpoint_of_child(self, attempt: Attempt, checkpoint_json: str) -> CheckpointOutcome:
        try:
            await store_checkpoint(self._store, attempt, checkpoint_json)
        except ClaimLostError:
            return CheckpointOutcome.LOST
        except StoreUnavailableError as error:
            log.warning("a checkpoint could not be stored", reason=str(error))
            return CheckpointOutcome.FAILED
        return CheckpointOutcome.STORED

    # By a worker

    async def _by_worker(self, attempt: Attempt, job_type: JobType) -> End | Lost | NotBegun:
        """Wait for what the worker reports. It cannot be interrupted: it learns that it should stop when it reports."""
        lease = self._workers.lease_of(attempt)
        if lease is None:
            return NotBegun()
        task = asyncio.create_task(lease.until_ended(), name=f"lease:{attempt.job.type}:{attempt.job.id}")
        try:
            watch = self._watch(attempt, job_type, 0.0)
            async with nullcontext() if watch is None else watch.over():
                await self._until_stopped(attempt, job_type, task)
            lease.look_again()
            return await task
        finally:
            lease.close()
            if not task.done():
                task.cancel()
                await asyncio.wait({task})

    # All

    def _until_stopped(self, attempt: Attempt, job_type: JobType, task: asyncio.Task[Any]) -> Coroutine[Any, Any, None]:
        grace_s = self._limits.cancel_grace_s
        return until_stopped(attempt, task, stall_timeout_s=job_type.stall_timeout_s, grace_s=grace_s)

    def _watch(self, attempt: Attempt, job_type: JobType, grace_s: float) -> Watch | None:
        """What watches the attempt, if it has limits. It has `grace_s` seconds to stop once it has passed one."""
        if not job_type.limits.any:
            return None
        written_bytes = partial(self._files.written_bytes, attempt.job)
        return Watch(job_type.limits, written_bytes, partial(attempt.exceed, grace_s=grace_s))

    def _uploads(self, job: Job) -> dict[str, Upload]:
        return {
            file.field: Upload(self._files.input(job.id, file.field), file.filename, file.content_type, file.size_bytes)
            for file in job.uploads
        }


async def _stop(conversation: Conversation, task: asyncio.Task[End | Lost], attempt: Attempt) -> None:
    """Ask, interrupt, kill: each once the last has had its time. What uses too much has none."""
    if attempt.stop_reason is StopReason.LIMIT:
        conversation.kill()
        return
    polite_s = min(POLITE_CANCEL_S, attempt.grace_s / 4)
    conversation.cancel()
    await asyncio.wait({task}, timeout=polite_s)
    if not task.done():
        conversation.terminate()
        await asyncio.wait({task}, timeout=max(0.0, attempt.grace_s - polite_s))
    if not task.done():
        log.warning("the handler did not stop in time and was killed", type=attempt.job.type)
        conversation.kill()
