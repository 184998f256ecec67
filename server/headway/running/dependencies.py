"""The dependencies of `async def` handlers: one per factory for the whole server, in its event loop."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, contextmanager
from contextvars import Context
from typing import Any, cast

import structlog

from ..authoring.author_code import AuthorCode, servers_own
from ..authoring.dependencies import Factory, Kind
from ..tracebacks import formatted
from .calling import DependencyFailedError, Needs
from .limits import CLEAN_UP_WITHIN_S

END_WITHIN_S = 1.0
"""How long a clean-up that took too long may take to end once it has been cancelled."""

log = structlog.get_logger(__name__)


class Dependencies:
    """Set up when they are first needed, and cleaned up in the reverse order of creation when the server stops."""

    def __init__(self, clean_up_within_s: float = CLEAN_UP_WITHIN_S) -> None:
        self.abandoned: set[asyncio.Task[Any]] = set()
        """The tasks of dependencies that do not end: they swallowed their cancellation."""
        self._clean_up_within_s = clean_up_within_s
        self._setting_up: dict[Callable[..., Any], _Dependency] = {}
        self._ready: dict[Callable[..., Any], _Dependency] = {}
        """In the order of creation: what a dependency needs comes before it."""
        self._users = 0
        self._retiring: asyncio.Task[None] | None = None
        self._retired = False

    def enter(self) -> None:
        """A handler begins to run. Nothing is retired before it has left."""
        self._users += 1

    def leave(self) -> None:
        """A handler that has entered has ended."""
        self._users -= 1
        if self._retired:
            self.retire()

    def retire(self) -> None:
        """Clean up when the last handler that runs has ended: others have other dependencies."""
        self._retired = True
        if not self._users and self._retiring is None:
            with servers_own():  # a handler may just have ended
                self._retiring = asyncio.create_task(self.close(), name="dependencies-retire", context=Context())

    async def get(self, needs: Needs) -> dict[str, Any]:
        """What the factories make, by parameter. Raises `DependencyFailedError`.

        A set-up is shared by all who wait for it. It is cancelled when the last of them is.
        """
        return {parameter: await self._get(factory) for parameter, factory in needs.items()}

    @property
    def is_closed(self) -> bool:
        """Whether it was retired, and nothing is left of it."""
        return self._retiring is not None and self._retiring.done() and not self.abandoned

    async def close(self) -> None:
        """Clean up one after the other, each with a time limit. No handler runs any more. Failures are logged."""
        if self._retiring not in (None, asyncio.current_task()):
            await asyncio.wait({self._retiring})
            return
        for dependency in [*self._setting_up.values(), *reversed(self._ready.values())]:
            if not await dependency.close(self._clean_up_within_s):
                self.abandoned.add(dependency.task)

    async def _get(self, factory: Factory) -> Any:
        while True:
            dependency = self._ready.get(factory.function) or self._setting_up.get(factory.function)
            if dependency is None:
                dependency = self._setting_up[factory.function] = _Dependency(factory, self)
            await dependency.settled()
            if dependency.ready:
                return dependency.value
            if dependency.failure is not None:
                raise dependency.failure
            # Otherwise it had been given up, and was still about to end.

    def is_ready(self, dependency: "_Dependency") -> None:
        """Its set-up has ended well."""
        function = dependency.factory.function
        self._ready[function] = self._setting_up.pop(function)

    def has_ended(self, dependency: "_Dependency") -> None:
        """Its next use sets it up anew."""
        for state in (self._setting_up, self._ready):
            state.pop(dependency.factory.function, None)


class _Dependency:
    """A task that sets a dependency up, keeps it, and cleans it up.

    It is one task for all of this since task groups and cancel scopes must be left in the task that has entered them.
    """

    def __init__(self, factory: Factory, all: Dependencies) -> None:
        self.factory = factory
        self.value: Any = None
        self.ready = False
        self.failure: DependencyFailedError | None = None
        """Why there is none, unless its set-up was given up."""
        self._all = all
        self._waiting = 0
        self._given_up = False
        self._settled = asyncio.Event()
        self._over = asyncio.Event()
        # In a context of its own: it belongs to no single job, and what it logs should not name one.
        self.task = asyncio.create_task(self._live(), name=f"dependency:{factory.name}", context=Context())
        self.task.add_done_callback(self._ended)

    async def settled(self) -> None:
        """Wait until the set-up has ended, well or not. It is given up when nobody waits any more."""
        self._waiting += 1
        try:
            await self._settled.wait()
        finally:
            self._waiting -= 1
            if not self._waiting and not self._settled.is_set():
                self._given_up = True
                with servers_own():  # the handler that has waited is running
                    self.task.cancel()

    async def close(self, within_s: float) -> bool:
        """Clean up. Returns whether the task has ended."""
        self._over.set()
        if not self.ready:
            self._given_up = True
            self.task.cancel()
        await asyncio.wait({self.task}, timeout=within_s)
        if not self.task.done():
            log.error("cleaning up a dependency took too long and was cancelled", factory=self.factory.name)
            self.task.cancel()
            await asyncio.wait({self.task}, timeout=END_WITHIN_S)
        return self.task.done()

    async def _live(self) -> BaseException | None:
        """Returns what the author's code raised: in a task, `SystemExit` would end the event loop."""
        code = AuthorCode(f"dependency:{self.factory.name}")
        try:
            with code.running():
                async with self._made() as self.value:
                    self.ready = True
                    self._all.is_ready(self)
                    self._settled.set()
                    await self._over.wait()
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return error  # something that the factory awaited was cancelled
        except BaseException as error:  # noqa: BLE001 - as above
            return error
        finally:
            code.close()
        return None

    @asynccontextmanager
    async def _made(self) -> AsyncIterator[Any]:
        needed = await self._all.get(self.factory.needs)
        function = self.factory.function
        match self.factory.kind:
            case Kind.FUNCTION:
                yield function(**needed)
            case Kind.COROUTINE:
                yield await function(**needed)
            case Kind.GENERATOR:
                with contextmanager(function)(**needed) as value:
                    yield value
            case Kind.ASYNC_GENERATOR:
                async with asynccontextmanager(function)(**needed) as value:
                    yield value

    def _ended(self, task: asyncio.Task[BaseException | None]) -> None:
        """Called for a task that was cancelled before it began, too."""
        self._all.has_ended(self)
        error = None if task.cancelled() else task.result()
        if self.ready:
            self._log_end(error)
        elif not self._given_up and error is not None:
            self.failure = _failure(self.factory, error)
        self._settled.set()

    def _log_end(self, error: BaseException | None) -> None:
        if error is not None:
            happened = "cleaning up a dependency failed" if self._over.is_set() else "a dependency broke"
            log.error(happened, factory=self.factory.name, traceback=formatted(error))


def _failure(factory: Factory, error: BaseException) -> DependencyFailedError:
    if issubclass(type(error), DependencyFailedError):  # of something that it needs
        return cast("DependencyFailedError", error)
    return DependencyFailedError(factory, error)
