"""The streams that are open: ends those whose client has gone, and all of them at shutdown."""

import asyncio

from aiohttp import web

WATCH_CONNECTIONS_EVERY_S = 1.0
SHUTDOWN_DRAIN_S = 0.3


class OpenStreams:
    """A register of the tasks that serve streams, and of their requests."""

    def __init__(self) -> None:
        self._open: dict[asyncio.Task[object], web.Request] = {}
        self._watch: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._open)

    def start(self) -> None:
        self._watch = asyncio.create_task(self._end_lost(), name="streams-watch")

    async def stop(self) -> None:
        """Let every stream write its end; cut those whose reader takes nothing."""
        if self._open:
            await asyncio.wait(list(self._open), timeout=SHUTDOWN_DRAIN_S)
        for request in self._open.values():
            if request.transport is not None:
                request.transport.abort()
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait({self._watch})

    def enter(self, request: web.Request) -> asyncio.Task[object]:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - endpoints run in tasks
        self._open[task] = request
        return task

    def leave(self, task: asyncio.Task[object]) -> None:
        self._open.pop(task, None)

    async def _end_lost(self) -> None:
        # aiohttp does not tell a handler that its client has gone, unless it writes.
        while True:
            await asyncio.sleep(WATCH_CONNECTIONS_EVERY_S)
            for task, request in list(self._open.items()):
                if request.transport is None or request.transport.is_closing():
                    task.cancel()
