"""Ends requests that wait for something after their client has disconnected.

aiohttp does not tell an endpoint that its client is gone unless the endpoint writes.
"""

import asyncio
import contextlib
from collections.abc import Iterator

from aiohttp import web

from ...loops import Loop, Loops

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

    def start(self, loops: Loops) -> Loop:
        """Check for lost clients until the loop is stopped."""
        return loops.start("lost-clients", self._check)

    async def _check(self) -> float:
        for task, request in list(self._waiting.items()):
            if request.transport is None or request.transport.is_closing():
                task.cancel()
        return CHECK_EVERY_S
