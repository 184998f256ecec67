"""The tasks that `async def` handlers start in the server's loop: each belongs to its attempt, and ends with it.

A task factory finds them. A task is the handler's if the author's code has created it, also through asyncio (`gather`,
`TaskGroup`); a library's own tasks, a connection pool's say, may serve other jobs too and are left alone.
"""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from types import FrameType
from typing import Any
from weakref import WeakKeyDictionary

from ..authoring.job_types import JobType
from ..authoring.reporting import LogBuffer
from ..tracebacks import Origin, describe, origin
from .calling import End, Returned, end_of

MOST_FAILED = 100
"""How many failed tasks are remembered: a handler may start any number, and look at them later."""


class HandlerTasks:
    """The tasks of one attempt's handler."""

    def __init__(self, logs: LogBuffer) -> None:
        self._logs = logs
        self._handler: asyncio.Task[Any] | None = None
        self._running: set[asyncio.Task[Any]] = set()
        self._failed: list[asyncio.Task[Any]] = []
        self._exit: BaseException | None = None
        """The `SystemExit` or `KeyboardInterrupt` that one of them has raised."""

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Within the block, the present task is the handler, and what it starts belongs to it."""
        self._handler = asyncio.current_task()
        token = _owner.set(self)
        try:
            yield
        finally:
            _owner.reset(token)
            self._handler = None

    async def end(self, end: End, job_type: JobType, within_s: float) -> End:
        """Cancel what the handler has left running. How the attempt ended, if its tasks are counted in.

        A task that raised an exception which nobody has seen is the job's failure; so is one that wanted to end the
        process. Those that are still `running` after `within_s` seconds have swallowed their cancellation.
        """
        if self._running:
            await asyncio.sleep(0)  # the callbacks of those that have just ended
        failed = self._take_failed()
        left = self.running
        for task in left:
            if isinstance(end, Returned):  # otherwise they were stopped or have failed, as the handler was or has
                self._logs.add("warning", f"the handler left a task running, and it was cancelled: {_name(task)}")
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=within_s)
        if self._exit is not None:
            end = end_of(self._exit, job_type)
        elif failed and isinstance(end, Returned):
            end = end_of(failed.pop(0)[1], job_type)
        for name, error in (*failed, *self._take_failed()):
            self._logs.add("warning", f"a task of the handler failed: {name}: {describe(error)}")
        return end

    @property
    def running(self) -> set[asyncio.Task[Any]]:
        """Those that have not ended."""
        return {task for task in self._running if not task.done()}

    def guarded(self, coro: Any) -> Any:
        """A coroutine that does what `coro` does, and under its name, but cannot end the event loop."""
        guarded: Any = self._guarded(coro)
        for name in ("__name__", "__qualname__"):
            with suppress(AttributeError):
                setattr(guarded, name, getattr(coro, name))
        return guarded

    def own(self, task: asyncio.Task[Any]) -> None:
        """The handler has started this task."""
        self._running.add(task)
        task.add_done_callback(self._has_ended)

    async def _guarded(self, coro: Coroutine[Any, Any, Any]) -> Any:
        try:
            return await coro
        except (SystemExit, KeyboardInterrupt) as error:  # in a task, these two end the event loop
            self._exit = self._exit or error
            if self._handler is not None:
                self._handler.cancel()
            raise asyncio.CancelledError from error

    def _has_ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if _is_unseen(task):
            self._failed = [*[each for each in self._failed if _is_unseen(each)][:MOST_FAILED], task]

    def _take_failed(self) -> list[tuple[str, BaseException]]:
        """The names and exceptions of tasks that nobody has asked; asyncio would log each as never retrieved."""
        unseen = [task for task in self._failed if _is_unseen(task)]
        self._failed.clear()
        return [(_name(task), error) for task in unseen if (error := task.exception()) is not None]


_owner: ContextVar[HandlerTasks | None] = ContextVar("headway_handler_tasks", default=None)
_users: WeakKeyDictionary[asyncio.AbstractEventLoop, int] = WeakKeyDictionary()
"""How many servers run in a loop."""


@contextmanager
def containing() -> Iterator[None]:
    """Within the block, tasks in the running loop are made by a factory that knows whose they are."""
    loop = asyncio.get_running_loop()
    before = loop.get_task_factory()
    _users[loop] = _users.get(loop, 0) + 1
    if _users[loop] == 1:
        loop.set_task_factory(_factory(before))
    try:
        yield
    finally:
        _users[loop] -= 1
        if not _users[loop]:
            _remove_factory(loop)


def _factory(before: Any) -> Any:
    make: Callable[..., asyncio.Task[Any]] = before or _make

    def factory(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Task[Any]:
        context = options.get("context")
        owner = _owner.get() if context is None else context.get(_owner)
        whose = None if owner is None else _creator(sys._getframe(1))  # noqa: SLF001 - no other way
        if owner is None or whose is Origin.FRAMEWORK or not isinstance(coro, Coroutine):
            return make(loop, coro, **options)
        task = make(loop, owner.guarded(coro), **options)
        task.add_done_callback(lambda _: coro.close())  # if it was cancelled before it began
        if whose is Origin.AUTHOR:
            owner.own(task)
        return task

    factory.made_by = make  # type: ignore[attr-defined]
    return factory


def _make(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Task[Any]:
    """What a loop without a factory does."""
    return asyncio.Task(coro, loop=loop, **options)


def _remove_factory(loop: asyncio.AbstractEventLoop) -> None:
    before = getattr(loop.get_task_factory(), "made_by", None)
    if before is not None:  # otherwise somebody has put another one in its place
        loop.set_task_factory(None if before is _make else before)


def _creator(frame: FrameType | None) -> Origin:
    """Whose code creates a task, by what is on the stack above asyncio."""
    while frame is not None:
        whose, package = origin(frame.f_code.co_filename)
        if package != "asyncio":
            return Origin.LIBRARY if whose is Origin.FRAMEWORK and package != "headway" else whose
        frame = frame.f_back
    return Origin.LIBRARY


def _is_unseen(task: asyncio.Task[Any]) -> bool:
    """Whether it has raised an exception that nobody has asked for: the flag by which asyncio knows it too."""
    return bool(getattr(task, "_log_traceback", False))


def _name(task: asyncio.Task[Any]) -> str:
    """For people: `ticker()`."""
    return f"{getattr(task.get_coro(), '__qualname__', 'a coroutine')}()"
