"""Requests that wait for a job: woken by its bell, answered when the server stops, gone with their client."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator

from aiohttp import web

from ..jobs import Job
from ..ports import Bell, EventHub, JobStore
from .auth import caller

LOOK_EVERY_S = 1.0


class Waiting:
    """The requests that wait now. Each costs a task and a listener; nothing looks at its job until a bell rings."""

    def __init__(self, store: JobStore, hub: EventHub) -> None:
        self._store = store
        self._hub = hub
        self._tasks: dict[asyncio.Task[object], web.Request] = {}

    async def for_job(
        self, request: web.Request, job_id: str, wait_s: float, enough: Callable[[Job], bool] = lambda job: job.terminal
    ) -> Job:
        """The job as soon as `enough` holds of it, else as it is after `wait_s` seconds or when the server stops.

        Raises `JobNotFoundError`, also if the job is deleted meanwhile. When the client goes away, the task that
        waits is cancelled.
        """
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + wait_s
        with self._entered(request), contextlib.closing(self._hub.listen(Bell.CHANGED, job_id)) as listener:
            while True:
                job = await self._store.get(caller(request), job_id)
                left_s = deadline_s - loop.time()
                if enough(job) or left_s <= 0 or self._hub.closed:
                    return job
                await listener.wait(left_s)

    @contextlib.contextmanager
    def _entered(self, request: web.Request) -> Iterator[None]:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - endpoints run in tasks
        self._tasks[task] = request
        try:
            yield
        finally:
            del self._tasks[task]

    async def run(self, _app: web.Application) -> AsyncIterator[None]:
        """A part of the application's clean-up context: ends waits whose client has gone, while it runs."""
        watch = asyncio.create_task(self._end_lost(), name="waiting-watch")
        yield
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch

    async def _end_lost(self) -> None:
        # aiohttp does not tell an endpoint that its client has gone, unless it writes.
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            for task, request in list(self._tasks.items()):
                if request.transport is None or request.transport.is_closing():
                    task.cancel()
