"""What a handler reports while it runs: newest progress values and buffered log lines. Mutable cells, never locked."""

import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from ..domain.instants import whole_ms
from ..domain.jobs import NewLogLine
from ..domain.text import clean_text

LOG_LINES_PER_SECOND = 100
LOG_BURST_LINES = 500
LOG_LINES_PER_ATTEMPT = 10_000
LOG_MESSAGE_CHARS = 4_000
LOG_LEVELS = frozenset({"debug", "info", "warning", "error"})


class LogBuffer:
    """Log lines on their way out: at most so many a second and an attempt; what is dropped is counted.

    A token bucket: `LOG_BURST_LINES` at once, refilled with `LOG_LINES_PER_SECOND`. The handler's threads add
    while another takes: lines are moved one by one, since a list that is exchanged loses what is just being added.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
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
        self._say_dropped()
        self._tokens -= 1
        self._left -= 1
        self._lines.append(_line(level, message))

    def take(self, *, final: bool = False) -> list[NewLogLine]:
        """The lines since the last call; with `final` also how many were dropped at the end."""
        if final:
            self._say_dropped()
        return [self._lines.popleft() for _ in range(len(self._lines))]

    def relay(self, line: NewLogLine) -> None:
        """Add a line that another buffer has let through already: a child's."""
        self._lines.append(line)

    def put_back(self, lines: list[NewLogLine]) -> None:
        """Return lines that could not be stored, to be taken again."""
        self._lines.extendleft(reversed(lines))

    def _say_dropped(self) -> None:
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            self._lines.append(_line("warning", f"{dropped:,} log lines were dropped: too many, too fast"))


def _line(level: str, message: str) -> NewLogLine:
    text = clean_text(str(message))
    if len(text) > LOG_MESSAGE_CHARS:
        text = text[: LOG_MESSAGE_CHARS - 1] + "…"
    return NewLogLine(at=whole_ms(datetime.now(UTC)), level=level if level in LOG_LEVELS else "info", message=text)


class Reported:
    """The newest values that a handler gave. Written by the handler, read by a ticker, never locked.

    Each attribute is replaced whole, so a reader in another thread sees the old value or the new one.
    `changed` is set last by the writer and cleared first by the reader: a change is seen late, never lost.
    """

    __slots__ = ("changed", "done", "message", "percent", "step", "total", "unit")

    def __init__(self) -> None:
        self.done: Any = None
        self.total: Any = None
        self.percent: Any = None
        self.unit: Any = None
        self.message: Any = None
        self.step: Any = None
        self.changed = False

    def take(self) -> tuple[Any, ...] | None:
        """The values, or `None` if nothing was written since the last call."""
        if not self.changed:
            return None
        self.changed = False
        return (self.done, self.total, self.percent, self.unit, self.message, self.step)

    def put(self, values: tuple[Any, ...]) -> None:
        """Write all values at once: the server's side of a process job."""
        self.done, self.total, self.percent, self.unit, self.message, self.step = values
        self.changed = True
