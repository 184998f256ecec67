"""The end of the process: neither what handlers have left in it nor a shutdown that is stuck holds it up.

Python would wait indefinitely for threads that are not daemons, and asyncio for tasks. A thread cannot be ended.
"""

import asyncio
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import Any

import structlog

EXIT_WITHIN_S = 2.0
"""How long threads may take to end once everything is recorded and closed."""
SHUTDOWN_WITHIN_S = 30.0
"""How long a shutdown may take beyond what running jobs and deliveries are given."""
MOST_NAMED = 20
"""How many tasks the log names: a handler may leave any number."""

log = structlog.get_logger(__name__)


def exit_soon(failure: BaseException | None) -> None:
    """Exit after a while if the process has not ended by then. Nothing is left to be recorded or closed."""
    timer = threading.Timer(EXIT_WITHIN_S, _exit, [failure])
    timer.daemon = True
    timer.start()


def exit_if_left(tasks: set[asyncio.Task[Any]]) -> None:
    """Exit now if tasks of handlers are left: they have swallowed their cancellation."""
    if tasks:
        with _exiting(0):
            names = sorted((task.get_name() for task in tasks), key=lambda name: (not _is_of_handler(name), name))
            more = {"more": len(names) - MOST_NAMED} if len(names) > MOST_NAMED else {}
            log.warning("exiting although handlers have not stopped", tasks=names[:MOST_NAMED], **more)


class ShutdownDeadline:
    """Ends the process when a shutdown takes too long, also if a handler blocks the event loop.

    What is recorded is recorded; jobs that still run are recovered at the next start, as after a crash.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, within_s: float) -> None:
        """`within_s`: how many seconds the shutdown of the server in `loop` may take."""
        self.begun = False
        self._loop = loop
        self._within_s = within_s
        self._over: SimpleQueue[bool] = SimpleQueue()
        # Started here, since a signal handler must not start a thread: it may have interrupted the start of another.
        threading.Thread(target=self._wait, name="headway-deadline", daemon=True).start()

    def begin(self) -> None:
        """The shutdown begins. May be called by a signal handler."""
        self.begun = True
        self._over.put(False)

    def lift(self) -> None:
        """The shutdown is complete, or nobody wants one any more."""
        self._over.put(True)

    def _wait(self) -> None:
        if not self._over.get() and not self._lifted_in_time():
            with _exiting(1):
                names = [task.get_name() for task in asyncio.all_tasks(self._loop)]
                what = {"tasks": sorted(filter(_is_of_handler, names)), "threads": _threads()}
                log.error("exiting although the shutdown is not complete", within_s=self._within_s, **what)

    def _lifted_in_time(self) -> bool:
        try:
            return self._over.get(timeout=self._within_s)
        except Empty:
            return False


def _is_of_handler(name: str) -> bool:
    return name.startswith(("job:", "dependency:"))


def _exit(failure: BaseException | None) -> None:
    with _exiting(0 if failure is None else 1):
        reason = {} if failure is None else {"reason": f"{type(failure).__name__}: {failure}"}
        log.warning("exiting although threads or tasks of handlers have not ended", threads=_threads(), **reason)


@contextmanager
def _exiting(code: int) -> Iterator[None]:
    """Exit at the end of the block, in which the log says why, even if the log cannot be written."""
    try:
        yield
        sys.stderr.flush()
    finally:
        os._exit(code)


def _threads() -> list[str]:
    """The names of the threads that Python would wait for."""
    return sorted(t.name for t in threading.enumerate() if not t.daemon and t is not threading.main_thread())
