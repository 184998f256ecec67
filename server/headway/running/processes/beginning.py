"""Whether a child begins its attempt: one that was stopped (SIGSTOP) before is killed, and another one begins it.

Handlers run as its user, so one of them can stop the children that wait for an attempt. Once the handler runs, a child
that is stopped is left alone: the handler may have done it, or a debugger. Linux only.
"""

import asyncio

import structlog

from .forked.stopped import CHECK_EVERY_S, STOPPED_CHECKS, is_stopped
from .starting import Child

log = structlog.get_logger(__name__)


class StartWatch:
    """Checks a child from time to time until it has begun. Call `end` then."""

    def __init__(self, child: Child) -> None:
        self.was_stopped = False
        """Whether it was killed because it was stopped."""
        self._child = child
        self._stopped = 0
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(CHECK_EVERY_S, self._check)

    def end(self) -> None:
        """Check no more. May be called again."""
        self._timer.cancel()

    def _check(self) -> None:
        self._stopped = self._stopped + 1 if is_stopped(self._child.pid) else 0
        if self._stopped < STOPPED_CHECKS:
            self._timer = self._loop.call_later(CHECK_EVERY_S, self._check)
            return
        log.error("a process was stopped before it began its attempt, and is killed")
        self.was_stopped = True
        self._child.kill()
