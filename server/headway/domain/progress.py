"""From what a handler reports to what is published: percent, rate, time left.

A handler may report as often as it likes; a few times a second, `Meter` turns its newest values into a `Progress`.
"""

import math
from typing import Any, NamedTuple

from ..limits import MESSAGE_CHARS, WORD_CHARS
from ..text import clean_text

MAX_PERCENT_RUNNING = 99.9
"""Only a completed job is at 100."""

RATE_AFTER_S = 3.0
"""Until the count has been observed for this long, a rate would be noise."""

RATE_TIME_CONSTANT_S = 8.0
"""How long the smoothed rate remembers: the estimate follows changes without jumping about."""

RATE_STEPS = 5
"""The rate remembers at least this many steps, so that work that moves once a minute has a pace too."""

_LEAST, _MOST = -(2**63) + 1, 2**63 - 1

MAX_ETA_S = 10 * 366 * 24 * 3600
"""A time left beyond this counts as unknown. There must be a limit, because the record holds 64 bits."""


class Progress(NamedTuple):
    """The progress that clients see. `percent` is 0-100 with one decimal, rounded down; `None`: unknown."""

    percent: float | None = None
    done: int | float | None = None
    total: int | float | None = None
    unit: str | None = None
    message: str | None = None
    step: str | None = None
    rate_per_second: float | None = None
    eta_s: int | None = None


NO_PROGRESS = Progress()
"""Of a job that has not reported any."""


class Meter:
    """Measures one attempt: a percentage that never falls, a smoothed rate, the time left."""

    def __init__(self, started_s: float, *, median_s: float | None = None) -> None:
        """`started_s` is a reading of the monotonic clock, `median_s` the type's usual run time, if known."""
        self._median_s = median_s
        self._percent: float | None = None
        self._pace_of = _PaceOf(started_s)

    def initial(self) -> Progress:
        """What is published before the handler has reported anything."""
        return Progress(eta_s=_seconds(self._median_s))

    def read(self, values: tuple[Any, ...], now_s: float) -> Progress:
        """What to publish for a handler's newest `values` (see `Reported.take`). Invalid values count as unknown."""
        done, total, percent, unit, message, step = values
        done, total, percent = finite(done), finite(total), finite(percent)
        if total is not None and total < 0:
            total = None
        self._raise_percent(done, total, percent)
        rate, eta = self._pace(done, total, now_s)
        unit, message, step = text_of(unit, WORD_CHARS), text_of(message, MESSAGE_CHARS), text_of(step, WORD_CHARS)
        # In half the time that `Progress(…)` takes: there is one for each report.
        return tuple.__new__(Progress, (self._percent, done, total, unit, message, step, rate, eta))

    def _raise_percent(self, done: float | None, total: float | None, percent: float | None) -> None:
        if percent is None and done is not None and total is not None:
            percent = 100 * done / total if total else 0.0
        if percent is None:
            return
        if percent >= MAX_PERCENT_RUNNING:
            self._percent = MAX_PERCENT_RUNNING
            return
        # 100 * 0.29 is just below 29 as a binary fraction, and would become 28.9.
        floored = math.floor(percent * 10 + 1e-9) / 10 if percent > 0 else 0.0
        if self._percent is None or floored > self._percent:
            self._percent = floored

    def _pace(self, done: float | None, total: float | None, now_s: float) -> tuple[float | None, int | None]:
        position, end = (done, total) if done is not None else (self._percent, 100.0)
        if position is None:
            return None, _seconds(self._median_s)
        pace = self._pace_of.at(position, now_s)
        if pace is None or now_s - self._pace_of.since_s < RATE_AFTER_S:
            return None, _seconds(self._median_s) if self._percent is None else None
        rate, waited_s = pace
        # It falls between two steps as well, so that the next step causes no jump.
        shown = None if done is None else _round_rate(rate)
        if end is None or rate <= 0:
            return shown, None
        left_s = (end - position) / rate - waited_s
        return shown, _seconds(left_s) if left_s > 0 else 0


class _PaceOf:
    """The pace of a position, smoothed over time and over steps. A position that falls restarts the measurement."""

    def __init__(self, started_s: float) -> None:
        self._begin(0.0, started_s)
        self._known = False

    def at(self, position: float, now_s: float) -> tuple[float, float] | None:
        """Units a second, and the seconds since the last step, but no more than a step usually takes; `None` until the
        position has moved.
        """
        if not self._known or position < self._last:
            # The first position too: an attempt that resumes at row 120,000 has not just read those rows.
            self._begin(position, now_s)
        elif position > self._last and now_s > self._last_s:
            return self._move(position, now_s), 0.0
        if self._rate is None:
            return None
        idle_s = max(0.0, now_s - self._last_s)
        if self._rate <= 0 or idle_s * self._rate <= self._step:
            return self._rate, idle_s
        return self._overdue(self._rate, idle_s)

    def _begin(self, position: float, now_s: float) -> None:
        self._known = True
        self.since_s = self._last_s = now_s
        self._first = self._last = position
        self._rate: float | None = None
        self._step = 0.0
        self._steps = 0

    def _move(self, position: float, now_s: float) -> float:
        step, passed_s, watched_s = position - self._last, now_s - self._last_s, now_s - self.since_s
        self._step, self._last, self._last_s = step, position, now_s
        self._steps += 1
        rate = self._rate
        if rate is None or watched_s < RATE_TIME_CONSTANT_S or self._steps <= RATE_STEPS:
            # At first the plain average is steadier than a filter that is still forgetting its start.
            rate = (position - self._first) / watched_s
        else:
            rate += _weight(passed_s, passed_s) * (step / passed_s - rate)
        self._rate = rate
        return rate

    def _overdue(self, rate: float, idle_s: float) -> tuple[float, float]:
        """The pace, which slows gradually while a step is overdue."""
        usual_s = self._step / rate
        return rate + _weight(idle_s - usual_s, usual_s) * (self._step / idle_s - rate), usual_s


def _weight(passed_s: float, step_s: float) -> float:
    """The weight of the last `passed_s` seconds against all before: a single step never outweighs them."""
    return 1 - math.exp(-passed_s / max(RATE_TIME_CONSTANT_S, RATE_STEPS * step_s))


def finite(value: Any) -> int | float | None:
    """A finite number that JSON and SQLite can hold, otherwise `None`. `True` is not a number here."""
    if value is None:
        return None
    kind = type(value)
    if kind is not int and kind is not float and (kind is bool or not isinstance(value, (int, float))):
        return None
    return value if _LEAST <= value <= _MOST else None  # false for NaN too


def text_of(value: Any, most: int) -> str | None:
    """`value` as text that can be stored and shown; `None` if it has none."""
    if value is None:
        return None
    if type(value) is str and len(value) <= most and value.isprintable():
        return value  # there is nothing to clean, as a rule
    try:
        return clean_text(str(value), most)
    except Exception:  # noqa: BLE001 - the author's object, or an integer of 5,000 digits, must not stop the ticker
        return None


def _round_rate(rate: float) -> float:
    """To three significant digits, which are enough; `round(rate, 1)` makes a decimal text of it and reads that."""
    return round(rate * 10) / 10 if rate < 100 else float(round(rate))  # noqa: PLR2004


def _seconds(value: float | None) -> int | None:
    return math.ceil(value) if value is not None and value <= MAX_ETA_S else None  # false for NaN too
