"""Requests that wait for a job: woken by its bell, answered when the server stops, gone with their client."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator

from aiohttp import web

from ..domain.jobs import Job
from ..errors import TooManyWaitsError
from ..ports.events import Bell, EventHub
from ..ports.jobs import JobStore
from ..settings import Settings
from .identity.gate import caller, client

LOOK_EVERY_S = 1.0
RETRY_AFTER_S = (5, 15)


class Waiting:
    """The requests that wait now. Each costs a task and a listener; nothing looks at its job until a bell rings."""

    def __init__(self, store: JobStore, hub: EventHub, settings: Settings) -> None:
        self._store = store
        self._hub = hub
        self._most = settings.max_waits
        self._most_per_client = settings.max_waits_per_client
        self._tasks: dict[asyncio.Task[object], web.Request] = {}
        self._of_client: Counter[str] = Counter()

    async def for_job(
        self, request: web.Request, job_id: str, wait_s: float, enough: Callable[[Job], bool] = lambda job: job.terminal
    ) -> Job:
        """The job as soon as `enough` holds of it, else as it is after `wait_s` seconds or when the server stops.

        Raises `JobNotFoundError`, also if the job is deleted meanwhile, and `TooManyWaitsError` if as many wait as
        may. When the client goes away, the task that waits is cancelled.
        """
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + wait_s

        def over(job: Job) -> bool:
            return enough(job) or loop.time() >= deadline_s or self._hub.closed

        with contextlib.closing(self._hub.listen(Bell.CHANGED, job_id)) as listener:
            job = await self._store.get(caller(request), job_id)
            if over(job):
                return job
            with self._entered(request):
                while not over(job):
                    await listener.wait(max(0.0, deadline_s - loop.time()))
                    job = await self._store.get(caller(request), job_id)
            return job

    @contextlib.contextmanager
    def _entered(self, request: web.Request) -> Iterator[None]:
        whose = client(request)
        self._check_room(whose)
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - endpoints run in tasks
        self._tasks[task] = request
        self._of_client[whose] += 1
        try:
            yield
        finally:
            del self._tasks[task]
            self._of_client[whose] -= 1
            if not self._of_client[whose]:
                del self._of_client[whose]

    def _check_room(self, whose: str) -> None:
        retry_after_s = random.randint(*RETRY_AFTER_S)  # noqa: S311 - not all return in one instant
        if len(self._tasks) >= self._most:
            raise TooManyWaitsError(f"{self._most:,} requests wait for jobs, and no more may.", retry_after_s)
        if self._of_client[whose] >= self._most_per_client:
            raise TooManyWaitsError(f"One client may have {self._most_per_client:,} requests wait.", retry_after_s)

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
