"""The error hook: a function of the operator's that is called once for every failed job, for Sentry and the like.

It cannot do harm. Calls are made one at a time, outside the jobs' slots and with a time limit; exceptions are logged;
the backlog is bounded, and failures beyond it are dropped with a line in the log.
"""

import asyncio
import contextvars
import inspect
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog

from ..domain.jobs import Job

CALL_LIMIT_S = 10.0
MAX_BACKLOG = 100
"""Failures waiting for their call. Each keeps its exception alive, and with it the handler's frames and locals."""
MAX_LEFT_BEHIND = 4
"""Calls over the time limit that may still be running. A thread cannot be stopped, so their number is limited."""

OnFailure = Callable[[Job, BaseException | None], Awaitable[None] | None]
"""The operator's function. Its arguments are the job as recorded, with `job.error`, and the exception if it was raised
in this process; a `def` handler raises in a process of its own.

`async def` runs in the server's event loop; a plain function runs in a thread of its own, so it may block.
"""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Failure:
    job: Job
    exception: BaseException | None


class FailureHook:
    """Calls the operator's function for failed jobs. Without a function it does nothing."""

    def __init__(self, on_failure: OnFailure | None = None, *, call_limit_s: float = CALL_LIMIT_S) -> None:
        self._on_failure = on_failure
        self._in_loop = inspect.iscoroutinefunction(on_failure) or inspect.iscoroutinefunction(
            getattr(on_failure, "__call__", None)  # noqa: B004 - an object may have an `async def __call__`
        )
        self._call_limit_s = call_limit_s
        self._backlog: asyncio.Queue[_Failure] = asyncio.Queue(MAX_BACKLOG)
        self._dropped = 0
        self._left_behind: set[asyncio.Task[None]] = set()

    def report(self, job: Job, exception: BaseException | None = None) -> None:
        """Queue a call for a failed job. Returns at once and never raises."""
        if self._on_failure is None:
            return
        if not self._backlog.full():
            self._backlog.put_nowait(_Failure(job, exception))
            return
        self._dropped += 1
        if self._dropped == 1:
            log.error("on_failure is too slow: failures are dropped until it catches up", job_id=job.id)

    async def call_next(self) -> None:
        """Wait for a failure and make its call: one turn of a loop. Raises only `CancelledError`."""
        failure = await self._backlog.get()
        try:
            with structlog.contextvars.bound_contextvars(job_id=failure.job.id):
                await self._call(failure)
        finally:
            self._backlog.task_done()
        if self._dropped and self._backlog.empty():
            log.error("on_failure caught up", dropped=self._dropped)
            self._dropped = 0

    async def close(self, grace_s: float) -> None:
        """Wait up to `grace_s` seconds for queued calls, then cancel the calls that can be cancelled."""
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await self._backlog.join()
        for call in self._left_behind:
            call.cancel()

    async def _call(self, failure: _Failure) -> None:
        if len(self._left_behind) >= MAX_LEFT_BEHIND:
            log.error("on_failure was not called: earlier calls have not ended", calls=len(self._left_behind))
            return
        call = asyncio.create_task(self._guarded(failure), name=f"on-failure:{failure.job.id}")
        try:
            await asyncio.wait({call}, timeout=self._call_limit_s)
        finally:
            if not call.done():
                self._leave_behind(call)

    def _leave_behind(self, call: asyncio.Task[None]) -> None:
        log.error("on_failure took too long and is no longer waited for", limit_s=self._call_limit_s)
        self._left_behind.add(call)
        call.add_done_callback(self._left_behind.discard)
        if self._in_loop:
            call.cancel()

    async def _guarded(self, failure: _Failure) -> None:
        """One call. Whatever it raises is logged, `SystemExit` too, which would end the event loop."""
        try:
            if self._in_loop:
                called = self._run(failure)
            else:
                called = await _in_thread(lambda: self._run(failure))
            if inspect.isawaitable(called):  # a lambda may return a coroutine
                await called
        except asyncio.CancelledError:
            raise
        except BaseException:  # the function is the operator's
            log.exception("on_failure raised")

    def _run(self, failure: _Failure) -> Any:
        try:
            return self._on_failure and self._on_failure(failure.job, failure.exception)
        except BaseException:
            log.exception("on_failure raised")


async def _in_thread(function: Callable[[], Any]) -> Any:
    """The result of `function`, which does not raise, from a daemon thread of its own.

    Not `asyncio.to_thread`: a function that hangs would hold a thread of the shared pool, and the exit.
    """
    loop = asyncio.get_running_loop()
    result: asyncio.Future[Any] = loop.create_future()

    def settle(value: Any) -> None:
        if not result.done():
            result.set_result(value)

    def run() -> None:
        value = function()
        with suppress(RuntimeError):  # the loop has been closed
            loop.call_soon_threadsafe(settle, value)

    threading.Thread(target=contextvars.copy_context().run, args=(run,), name="on-failure", daemon=True).start()
    return await result
