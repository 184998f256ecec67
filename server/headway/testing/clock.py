"""`Clock`: the time that Headway goes by in this process, for a test to move.

It is one for the process, as it is for a server. The event loops that run handlers or a server follow it, so a wait of
an hour ends when the clock has been moved by an hour.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import Self
from weakref import WeakSet

from ..clock import utc_now

_following: "WeakSet[asyncio.AbstractEventLoop]" = WeakSet()
_when_moved: set[Callable[[], None]] = set()


class Clock:
    """A context manager that puts the clock back at its end.

        with Clock() as clock:
            clock.advance(3600)

    `time.time`, `datetime.now` and `time.sleep` are not moved: what a handler reads from them is Python's affair.
    """

    def __init__(self) -> None:
        self._moved_s = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        utc_now.move(-self._moved_s)
        self._moved_s = 0.0

    def now(self) -> datetime:
        """The time that Headway records, in UTC."""
        return utc_now()

    def advance(self, by: float | timedelta) -> None:
        """Let `by` pass: seconds, or a `timedelta`. What has become due happens soon; wait for it.

        Raises `ValueError` for a negative time.
        """
        seconds = by.total_seconds() if isinstance(by, timedelta) else by
        if seconds < 0:
            raise ValueError("the clock only goes forward")
        utc_now.move(seconds)
        self._moved_s += seconds
        loops = set(_following)
        with suppress(RuntimeError):  # no test of an event loop
            loops.add(asyncio.get_running_loop())
        for loop in loops:
            _move(loop, seconds)
        for notify in list(_when_moved):
            notify()


@contextmanager
def following(loop: asyncio.AbstractEventLoop, when_moved: Callable[[], None] | None = None) -> Iterator[None]:
    """Within the block, the time of an event loop is moved with the clock; `when_moved` is called after that.

    uvloop keeps a time of its own: there, only deadlines that `when_moved` looks at are moved.
    """
    is_first = loop not in _following
    _following.add(loop)
    if when_moved is not None:
        _when_moved.add(when_moved)
    try:
        yield
    finally:
        if is_first:
            _following.discard(loop)
        if when_moved is not None:
            _when_moved.discard(when_moved)


class _MovedTime:
    """A loop's time. It is never put back: timers that have been set would be late by as much."""

    def __init__(self, time: Callable[[], float]) -> None:
        self._time = time
        self.moved_s = 0.0

    def __call__(self) -> float:
        return self._time() + self.moved_s


def _move(loop: asyncio.AbstractEventLoop, seconds: float) -> None:
    time = loop.time
    if not isinstance(time, _MovedTime):
        time = _MovedTime(time)
        try:
            setattr(loop, "time", time)  # noqa: B010 - mypy allows no other way
        except AttributeError:  # uvloop's
            return
    time.moved_s += seconds
    with suppress(RuntimeError):  # it has been closed
        loop.call_soon_threadsafe(_look_again)


def _look_again() -> None:
    """Wake a loop, which then looks for what is due."""
