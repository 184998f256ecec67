"""The supervisor of the server's background loops: each has a name, survives its own failures, and ends no other.

Here, too: a wait that goes on to its end.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NamedTuple, TypeVar

import structlog

from .errors import HeadwayError

FIRST_BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 5.0
"""Short: a loop that is needed again, after a full disk say, is back within this time."""
FAILING_AFTER = 5
"""Consecutive failures after which a loop counts as failing: with the back-off between them, some eight seconds."""
STOP_WITHIN_S = 5.0

Turn = Callable[[], Awaitable[float | None]]
"""One pass of a loop; returns the seconds to sleep before the next one, `None` to go on at once."""

T = TypeVar("T")

Sleep = Callable[[float], Awaitable[None]]

log = structlog.get_logger(__name__)


class FailingLoop(NamedTuple):
    """A loop that does not do its work, and why. The reason may be shown to anybody."""

    name: str
    reason: str


class Loop:
    """One supervised loop. Made by `Loops.start`."""

    def __init__(self, name: str, turn: Turn, until: Callable[[], bool], sleep: Sleep) -> None:
        self.name = name
        self._turn = turn
        self._until = until
        self._sleep = sleep
        self._failures = 0
        self._reason = ""
        self._stopping = False
        self._work: set[asyncio.Task[None]] = set()
        self._task = asyncio.create_task(self._run(), name=name)

    @property
    def failing(self) -> FailingLoop | None:
        """Why the loop does not do its work, `None` while it does."""
        if self._stopping:
            return None
        if self._task.done() and self._ended_early():
            return FailingLoop(self.name, f"The background loop {self.name!r} has ended; restart the server.")
        if self._failures >= FAILING_AFTER:
            return FailingLoop(
                self.name, f"The background loop {self.name!r} failed {self._failures} times in a row: {self._reason}"
            )
        return None

    @property
    def work(self) -> list[asyncio.Task[None]]:
        """What it has spawned that has not ended."""
        return list(self._work)

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start work that the loop does not wait for. Its failure is logged; it is cancelled when the loop stops."""
        task = asyncio.create_task(work, name=name)
        self._work.add(task)
        task.add_done_callback(self._work_ended)
        return task

    async def stop(self, within_s: float = STOP_WITHIN_S) -> None:
        """Cancel the loop and its work; what has not ended after `within_s` seconds is logged and left behind."""
        self._stopping = True
        tasks = [self._task, *self._work]
        for task in tasks:
            task.cancel()
        _, left = await asyncio.wait(tasks, timeout=within_s)
        for task in left:
            log.warning("a background task does not stop", task=task.get_name())

    async def _run(self) -> None:
        while not self._until():
            pause_s = await self._try_once()
            await self._sleep(pause_s)  # also for 0 s: a turn that never waits must not hold up the event loop

    async def _try_once(self) -> float:
        try:
            pause_s = await self._turn()
        except HeadwayError as error:
            return self._failed(error, str(error))
        except Exception as error:  # noqa: BLE001 - a loop survives whatever one turn raises
            return self._failed(error, f"{type(error).__name__}, see the log.")
        if self._failures >= FAILING_AFTER:
            log.info("a background loop has recovered", loop=self.name, failures=self._failures)
        self._failures = 0
        return pause_s or 0.0

    def _failed(self, error: Exception, reason: str) -> float:
        """Log it; the seconds to wait before the next try. The text of an unexpected error stays in the log."""
        self._failures += 1
        self._reason = reason
        backoff_s = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(self._failures - 1, 10))
        about = {"loop": self.name, "failures": self._failures, "retry_in_s": backoff_s}
        if isinstance(error, HeadwayError):
            log.warning("a background loop failed", reason=reason, **about)
        else:
            log.error("a background loop failed", exc_info=error, **about)
        return backoff_s

    def _ended_early(self) -> bool:
        """Whether the finished task was ended by something other than `until` or `stop`."""
        return self._task.cancelled() or self._task.exception() is not None

    def _work_ended(self, task: asyncio.Task[None]) -> None:
        self._work.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.error("background work failed", loop=self.name, task=task.get_name(), exc_info=error)


class Loops:
    """The background loops of one server.

    A room starts its loops here and stops each of them itself, in the order of the shutdown. An exception in a turn
    is logged with the loop's name, and the loop goes on after a back-off that grows to `LONGEST_BACKOFF_S` and is
    forgotten after the next success. `failing` names the loops that have ended or keep failing.
    """

    def __init__(self, sleep: Sleep = asyncio.sleep) -> None:
        self._sleep = sleep
        self._all: list[Loop] = []

    def start(self, name: str, turn: Turn, *, until: Callable[[], bool] = lambda: False) -> Loop:
        """Run `turn` again and again; the loop ends by itself before the turn for which `until` is true."""
        loop = Loop(name, turn, until, self._sleep)
        self._all.append(loop)
        return loop

    @property
    def failing(self) -> list[FailingLoop]:
        """The loops that have failed `FAILING_AFTER` times in a row, or have ended although nobody stopped them."""
        return [failing for loop in self._all if (failing := loop.failing) is not None]

    async def stop(self) -> None:
        """Stop every loop that still runs."""
        await asyncio.gather(*(loop.stop() for loop in self._all))


async def uncancellable(awaitable: Awaitable[T]) -> T:
    """Await to the end, however often the caller is cancelled meanwhile; then let the cancellation go on."""
    task = asyncio.ensure_future(awaitable)
    cancelled = False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            cancelled = not task.cancelled()
        except Exception:  # noqa: BLE001, S110 - raised by result() below
            pass
    if cancelled and not task.cancelled() and task.exception() is None:
        raise asyncio.CancelledError
    return task.result()
