"""The tasks that `async def` handlers start in the server's loop: each belongs to its attempt, and ends with it.

A task factory finds them. A task is the handler's if the author's code has created it, also through asyncio (`gather`,
`TaskGroup`); a library's own tasks, a connection pool's say, may serve other jobs too and are left alone. A handler
can cancel these and its own: what cancels `asyncio.all_tasks()` would end the server and others' attempts.
"""

import asyncio
import sys
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar, Token
from functools import partial
from itertools import islice
from types import FrameType
from typing import Any
from weakref import WeakKeyDictionary

from typing_extensions import override

from ..authoring.author_code import AuthorCode, running_code
from ..authoring.job_types import JobType
from ..authoring.reporting import LogBuffer
from ..tracebacks import Origin, describe, origin
from .calling import End, Returned, end_of

MOST_FAILED = 100
"""How many failed tasks are remembered: a handler may start any number, and look at them later."""
AT_ONCE = 100
"""How many tasks are cancelled before the loop goes round."""
MOST_NAMED = 5
"""How many tasks a line of the log names."""


class HandlerTasks:
    """The tasks of one attempt's handler. As a context manager, it makes the present task the handler."""

    def __init__(self, logs: LogBuffer, name: str = "job") -> None:
        """`name`: that of its threads."""
        self._logs = logs
        self._code = AuthorCode(name, partial(logs.add, "warning"))
        self._handler: asyncio.Task[Any] | None = None
        self._running: set[asyncio.Task[Any]] = set()
        self._failed: list[asyncio.Task[Any]] = []
        self._exit: BaseException | None = None
        """The `SystemExit` or `KeyboardInterrupt` that one of them has raised."""
        self._over = False
        self._run = self._code.running()
        self._token: Token[HandlerTasks | None]

    def __enter__(self) -> None:
        """From now on the present task is the handler, and what it starts belongs to it."""
        self._handler = asyncio.current_task()
        self._token = _owner.set(self)
        self._run.__enter__()

    def __exit__(self, *_raised: object) -> None:
        self._run.__exit__()
        _owner.reset(self._token)
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
        if left:
            if isinstance(end, Returned):  # otherwise they were stopped or have failed, as the handler was or has
                self._logs.add("warning", _left_running(left))
            await cancel(left)
            await asyncio.wait(left, timeout=within_s)
        self._over = True
        self._code.close()
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
            self.fail(error)
            raise asyncio.CancelledError from error

    def includes(self, task: asyncio.Task[Any]) -> bool:
        """Whether the handler has started this task."""
        return task in self._running

    def fail(self, error: BaseException) -> bool:
        """Let the handler fail of something that wanted to end the process; `False` if it is over."""
        if self._over:
            return False
        self._exit = self._exit or error
        if self._handler is not None:
            self._handler.cancel()
        return True

    def _has_ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if _is_unseen(task):
            self._failed = [*[each for each in self._failed if _is_unseen(each)][:MOST_FAILED], task]

    def _take_failed(self) -> list[tuple[str, BaseException]]:
        """The names and exceptions of tasks that nobody has asked; asyncio would log each as never retrieved."""
        if not self._failed:
            return []
        unseen = [task for task in self._failed if _is_unseen(task)]
        self._failed.clear()
        return [(_name(task), error) for task in unseen if (error := task.exception()) is not None]


async def cancel(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel tasks; of very many, a part in each round of the loop, since all of them run in the next one."""
    for number, task in enumerate(tasks, 1):
        task.cancel()
        if not number % AT_ONCE:
            await asyncio.sleep(0)


class _ServersTask(asyncio.Task[Any]):
    """A task of the server, or one that runs authors' code for it. No author's code but that can cancel it."""

    __slots__ = ()

    @override
    def cancel(self, msg: Any | None = None) -> bool:
        code = running_code()
        if code is None or code.runs_in(self) or _is_of_author(self):
            return super().cancel(msg)
        return _refused(code)


class _HandlersTask(asyncio.Task[Any]):
    """A task that a handler has started. No other author's code can cancel it."""

    __slots__ = ()

    @override
    def cancel(self, msg: Any | None = None) -> bool:
        code, canceller = running_code(), _owner.get()
        if code is None or (canceller is not None and canceller.includes(self)):
            return super().cancel(msg)
        return _refused(code)


def _is_of_author(task: asyncio.Task[Any]) -> bool:
    """Whether a task that no handler has started is an author's all the same: it was started while a module loaded."""
    code = getattr(task.get_coro(), "cr_code", None)
    return code is not None and origin(code.co_filename)[0] is Origin.AUTHOR


def _refused(code: AuthorCode) -> bool:
    code.refuse_cancel()
    return False


_owner: ContextVar[HandlerTasks | None] = ContextVar("headway_handler_tasks", default=None)
_users: WeakKeyDictionary[asyncio.AbstractEventLoop, int] = WeakKeyDictionary()
"""How many servers run in a loop."""


def attributed(error: BaseException) -> bool:
    """Whether an exception that a callback has ended the event loop with is now the failure of the handler it is of.

    The context in which a callback runs says whose it is. asyncio's loop shows it in the traceback, uvloop does not.
    """
    traceback = error.__traceback__
    while traceback is not None:
        handle = traceback.tb_frame.f_locals.get("self")
        if isinstance(handle, asyncio.Handle):
            owner = handle._context.get(_owner)  # type: ignore[attr-defined] # noqa: SLF001 - no other way
            return owner is not None and owner.fail(error)
        traceback = traceback.tb_next
    return False


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
    servers = before or make_servers
    handlers = before or _make_handlers

    def factory(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Task[Any]:
        context = options.get("context")
        owner = _owner.get() if context is None else context.get(_owner)
        if owner is None:
            return (servers if running_code(context) is None else make)(loop, coro, **options)
        whose = _creator(sys._getframe(1))  # noqa: SLF001 - no other way
        if whose is Origin.FRAMEWORK or not isinstance(coro, Coroutine):
            return servers(loop, coro, **options)
        task = (handlers if whose is Origin.AUTHOR else make)(loop, owner.guarded(coro), **options)
        task.add_done_callback(lambda _: coro.close())  # if it was cancelled before it began
        if whose is Origin.AUTHOR:
            owner.own(task)
        return task

    factory.made_by = make  # type: ignore[attr-defined]
    return factory


def _make(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Task[Any]:
    """What a loop without a factory does."""
    return asyncio.Task(coro, loop=loop, **options)


def make_servers(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Task[Any]:
    """A task of the server, also outside `containing`."""
    return _ServersTask(coro, loop=loop, **options)


def _make_handlers(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Task[Any]:
    return _HandlersTask(coro, loop=loop, **options)


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


def named(tasks: Iterable[asyncio.Task[Any]]) -> list[str]:
    """The names of the first few, for people."""
    return [_name(task) for task in islice(tasks, MOST_NAMED)]


def _left_running(tasks: Collection[asyncio.Task[Any]]) -> str:
    names, more = ", ".join(named(tasks)), len(tasks) - MOST_NAMED
    if len(tasks) == 1:
        return f"the handler left a task running, and it was cancelled: {names}"
    others = f" and {more:,} more" if more > 0 else ""
    return f"the handler left {len(tasks):,} tasks running, and they were cancelled: {names}{others}"


def _name(task: asyncio.Task[Any]) -> str:
    """For people: `ticker()`."""
    return f"{getattr(task.get_coro(), '__qualname__', 'a coroutine')}()"
