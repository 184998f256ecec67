"""Ends requests that wait for something after their client has disconnected.

aiohttp does not tell an endpoint that its client is gone unless the endpoint writes.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

from aiohttp import web

CHECK_EVERY_S = 1.0


class LostClients:
    """The requests that wait now, each with its task."""

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Task[object], web.Request] = {}

    @contextlib.contextmanager
    def cancelling(self, request: web.Request) -> Iterator[None]:
        """Within this block the current task is cancelled when the request's client disconnects."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - endpoints run in tasks
        self._waiting[task] = request
        try:
            yield
        finally:
            del self._waiting[task]

    async def run(self, _app: web.Application) -> AsyncIterator[None]:
        """A part of the application's clean-up context: checks for lost clients while the application runs."""
        watch = asyncio.create_task(self._check(), name="lost-clients")
        yield
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch

    async def _check(self) -> None:
        while True:
            await asyncio.sleep(CHECK_EVERY_S)
            for task, request in list(self._waiting.items()):
                if request.transport is None or request.transport.is_closing():
                    task.cancel()
