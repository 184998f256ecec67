"""Authors' code that runs in the server's event loop: it has threads of its own, and only its own tasks to cancel.

asyncio has one small pool for everything that blocks: `asyncio.to_thread`, look-ups of names, the files that aiohttp
sends. A handler that fills it with calls that take long would hold up downloads, uploads and the end of every job. And
one that cancels `asyncio.all_tasks()` would end the server.
"""

import asyncio
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import Context, ContextVar
from typing import Any, ParamSpec, TypeVar

import structlog
from typing_extensions import override

THREADS = min(32, (os.cpu_count() or 1) + 4)
"""How many threads the server has, and each author's code: as many as asyncio's own pool."""

NOT_ITS_OWN = "tasks of the server or of another job were not cancelled: a handler can only cancel its own"

log = structlog.get_logger(__name__)
P = ParamSpec("P")
T = TypeVar("T")


class AuthorCode:
    """The code of one attempt, or something else of an author's that runs in the event loop."""

    def __init__(self, name: str, warn: Callable[[str], object] = lambda _: None) -> None:
        """`name`: that of its threads, so that the log can say whose they are.

        `warn` is called with what an author should know, besides the server's log.
        """
        self._name = name
        self._warn = warn
        self._warned = False
        self._tasks: set[asyncio.Task[Any] | None] = set()
        self._pool: ThreadPoolExecutor | None = None

    def running(self) -> "Run":
        """Within the block, the present task runs this code, and so do the tasks and threads that it starts."""
        return Run(self, self._tasks)

    def runs_in(self, task: asyncio.Task[Any]) -> bool:
        """Whether it is this task that runs it: what it starts is not meant."""
        return task in self._tasks

    def refuse_cancel(self) -> None:
        """Say, once, that it has tried to cancel what is not its own."""
        if not self._warned:
            self._warned = True
            log.warning(NOT_ITS_OWN, code=self._name)
            self._warn(NOT_ITS_OWN)

    def submit(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call a function in one of its threads."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix=self._name)
        return self._pool.submit(function, *args, **kwargs)

    def close(self) -> None:
        """End the threads that have nothing to do, and let the others end by themselves.

        Calls that wait are still made, since they may be a library's for another job. What is called from now on gets
        new threads.
        """
        if self._pool is not None:
            self._pool.shutdown(wait=False)
            self._pool = None


class Run:
    """A block in which a task runs an author's code. Each job has one; `contextmanager` takes three times as long."""

    __slots__ = ("_code", "_task", "_tasks", "_token")

    def __init__(self, code: AuthorCode, tasks: set[asyncio.Task[Any] | None]) -> None:
        self._code = code
        self._tasks = tasks

    def __enter__(self) -> None:
        self._task = asyncio.current_task()
        self._tasks.add(self._task)
        self._token = _running.set(self._code)

    def __exit__(self, *_raised: object) -> None:
        _running.reset(self._token)
        self._tasks.discard(self._task)


class ServerThreads(ThreadPoolExecutor):
    """The server's own threads, as the default executor of its event loop: authors' calls go to theirs."""

    def __init__(self) -> None:
        super().__init__(THREADS, thread_name_prefix="headway")

    @override
    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        code = _running.get()
        return super().submit(fn, *args, **kwargs) if code is None else code.submit(fn, *args, **kwargs)


_running: ContextVar[AuthorCode | None] = ContextVar("headway_author_code", default=None)


def running_code(context: Context | None = None) -> AuthorCode | None:
    """Whose code runs, or has started what runs; `None` if it is the server's. `context`: not in the present one."""
    return _running.get() if context is None else context.get(_running)


@contextmanager
def servers_own() -> Iterator[None]:
    """Within the block, what runs is the server's own code again, in the course of an author's."""
    token = _running.set(None)
    try:
        yield
    finally:
        _running.reset(token)
