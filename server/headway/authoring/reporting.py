"""What a handler reports while it runs: the newest progress values and buffered log lines. Nothing here is locked."""

import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any

from ..clock import utc_now
from ..domain.jobs import NewLogLine
from ..limits import LOG_BURST_LINES, LOG_LINE_CHARS, LOG_LINES_PER_ATTEMPT, LOG_LINES_PER_SECOND
from ..text import clean_text, spoken

LOG_LEVELS = frozenset({"debug", "info", "warning", "error"})


def nobody_listens() -> None:
    """A bell without a listener."""


class LineLimit:
    """How many lines an attempt may still write: a token bucket, and a number in all. Counts what it refuses.

    `LOG_BURST_LINES` at once, refilled at `LOG_LINES_PER_SECOND`, by default `LOG_LINES_PER_ATTEMPT` in all.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, in_all: float = LOG_LINES_PER_ATTEMPT) -> None:
        self.dropped = 0
        self._clock = clock
        self._left = in_all
        self._tokens = float(LOG_BURST_LINES)
        self._refilled_s = clock()

    def has_room(self) -> bool:
        """Whether another line may be written now."""
        now_s = self._clock()
        refill = (now_s - self._refilled_s) * LOG_LINES_PER_SECOND
        self._tokens = min(float(LOG_BURST_LINES), self._tokens + refill)
        self._refilled_s = now_s
        return self._tokens >= 1 and self._left >= 1

    def take(self) -> bool:
        """Whether a line may be written. It counts, either way."""
        if self.has_room():
            self._tokens -= 1
            self._left -= 1
            return True
        self.dropped += 1
        return False

    def take_relayed(self) -> bool:
        """Whether a line may be written that a child's own limit has let through: the rate has been applied."""
        if self._left < 1:
            self.dropped += 1
            return False
        self._left -= 1
        return True

    def take_dropped(self) -> int:
        """How many lines were refused since the last call."""
        dropped, self.dropped = self.dropped, 0
        return dropped


class LogBuffer:
    """Log lines on their way to the store, within a `LineLimit`.

    The handler's threads add lines while another thread takes them, one by one: swapping the list would lose a line
    that is just being added.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.ring: Callable[[], None] = nobody_listens
        """Called with the first line since lines were taken, by the thread that adds it."""
        self.limit = LineLimit(clock)
        self._has_rung = False
        self._ended = False
        self._lines: deque[NewLogLine] = deque()

    def add(self, level: str, message: str) -> bool:
        """Add a handler's line, if its attempt may write another one. Returns whether it may."""
        if self._ended or not self.limit.take():
            return False
        self._append(log_line(level, message))
        return True

    def note(self, level: str, message: str) -> None:
        """Add a line of the server's own, whatever the handler has written."""
        self._append(log_line(level, message))

    def relay(self, line: NewLogLine) -> None:
        """Add a line that a child's buffer has already let through."""
        if self.limit.take_relayed():
            self._append(line)

    def take(self, *, final: bool = False) -> list[NewLogLine]:
        """The lines since the last call. With `final`, a last line says how many were dropped, and it is the last."""
        self._has_rung = False  # first: a line that is added meanwhile rings again
        if final:
            self._ended = True
            if dropped := self.limit.take_dropped():
                self.note("warning", f"{dropped:,} log lines were dropped: there were too many")
        return [self._lines.popleft() for _ in range(len(self._lines))]

    def put_back(self, lines: list[NewLogLine]) -> None:
        """Put lines that could not be stored back, to be taken again."""
        self._lines.extendleft(reversed(lines))

    def _append(self, line: NewLogLine) -> None:
        self._lines.append(line)
        if not self._has_rung:
            self._has_rung = True
            self.ring()


def exact_number(value: Any) -> Any:
    """`value` as Python's own `int`, `float` or `bool`, also from numpy; `None` if it is no number.

    To be called where a handler hands it over: what a subclass raises, or does later, would otherwise be the server's.
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, int):
        return int.__int__(value)
    if value is None or isinstance(value, str):
        return None
    with suppress(TypeError, ValueError, AttributeError):
        item = value.item()
        return item if type(item) in (int, float) else None
    return None


def exact_text(value: Any) -> str | None:
    """`value` as Python's own `str`; `None` if it has no text. As for numbers."""
    if value is None:
        return None
    try:
        return str.__str__(value) if isinstance(value, str) else str.__str__(str(value))
    except Exception:  # noqa: BLE001 - the author's object, or an integer of 5,000 digits: it counts as unknown
        return None


def log_line(level: str, message: object, at: datetime | None = None) -> NewLogLine:
    """A line that can be stored and shown, whatever a handler hands over. `at` is now by default."""
    text = clean_text(spoken(message), LOG_LINE_CHARS, lines=True)
    level = exact_text(level) or "info"
    return NewLogLine(at=at or utc_now(), level=level if level in LOG_LEVELS else "info", message=text)


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
        self.ring: Callable[[], None] = nobody_listens
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
