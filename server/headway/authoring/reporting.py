"""What a handler reports while it runs: the newest progress values and buffered log lines. Nothing here is locked."""

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from ..clock import utc_now
from ..domain.jobs import NewLogLine
from ..limits import LOG_BURST_LINES, LOG_LINE_CHARS, LOG_LINES_PER_ATTEMPT, LOG_LINES_PER_SECOND
from ..text import clean_text, spoken

LOG_LEVELS = frozenset({"debug", "info", "warning", "error"})


def _nobody_listens() -> None:
    """A bell without a listener."""


class LogBuffer:
    """Log lines on their way to the store, limited per second and per attempt. Dropped lines are counted.

    A token bucket: `LOG_BURST_LINES` at once, refilled at `LOG_LINES_PER_SECOND`. The handler's threads add lines while
    another thread takes them, one by one: swapping the list would lose a line that is just being added.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.ring: Callable[[], None] = _nobody_listens
        """Called with the first line since lines were taken, by the thread that adds it."""
        self._has_rung = False
        self._clock = clock
        self._lines: deque[NewLogLine] = deque()
        self._left = LOG_LINES_PER_ATTEMPT
        self._tokens = float(LOG_BURST_LINES)
        self._refilled_s = clock()
        self._dropped = 0

    def add(self, level: str, message: str) -> None:
        now_s = self._clock()
        refill = (now_s - self._refilled_s) * LOG_LINES_PER_SECOND
        self._tokens = min(float(LOG_BURST_LINES), self._tokens + refill)
        self._refilled_s = now_s
        if self._tokens < 1 or self._left < 1:
            self._dropped += 1
            return
        self._note_dropped()
        self._tokens -= 1
        self._left -= 1
        self.relay(_line(level, message))

    def take(self, *, final: bool = False) -> list[NewLogLine]:
        """The lines since the last call. With `final`, a last line says how many were dropped, and it is the last."""
        self._has_rung = False  # first: a line that is added meanwhile rings again
        if final:
            self._note_dropped()
            self._left = 0
        return [self._lines.popleft() for _ in range(len(self._lines))]

    def relay(self, line: NewLogLine) -> None:
        """Add a line that a child's buffer has already let through."""
        self._lines.append(line)
        if not self._has_rung:
            self._has_rung = True
            self.ring()

    def put_back(self, lines: list[NewLogLine]) -> None:
        """Put lines that could not be stored back, to be taken again."""
        self._lines.extendleft(reversed(lines))

    def _note_dropped(self) -> None:
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            self.relay(_line("warning", f"{dropped:,} log lines were dropped: there were too many"))


def _line(level: str, message: str) -> NewLogLine:
    text = clean_text(spoken(message), LOG_LINE_CHARS, lines=True)
    return NewLogLine(at=utc_now(), level=level if level in LOG_LEVELS else "info", message=text)


class Reported:
    """The newest values that a handler reported. The handler writes them, the publisher reads them, without a lock.

    An attribute is replaced as a whole, so a reader in another thread sees either the old value or the new one. The
    writer calls `mark_changed` last and the reader clears `changed` first, so a change may be seen late, never lost.
    """

    __slots__ = ("changed", "done", "message", "percent", "ring", "step", "total", "unit")

    def __init__(self) -> None:
        self.done: Any = None
        self.total: Any = None
        self.percent: Any = None
        self.unit: Any = None
        self.message: Any = None
        self.step: Any = None
        self.changed = False
        self.ring: Callable[[], None] = _nobody_listens
        """Called when there is something new after it was taken, by the thread that reports it."""

    def mark_changed(self) -> None:
        """Note that values were written."""
        if not self.changed:
            self.changed = True
            self.ring()

    def take(self) -> tuple[Any, ...] | None:
        """The values, or `None` if nothing was written since the last call."""
        if not self.changed:
            return None
        self.changed = False
        return (self.done, self.total, self.percent, self.unit, self.message, self.step)

    def put(self, values: tuple[Any, ...]) -> None:
        """Write all values at once, as a child reports them."""
        self.done, self.total, self.percent, self.unit, self.message, self.step = values
        self.mark_changed()
