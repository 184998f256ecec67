"""From what a handler reports to what is published: percent, rate, time left. Pure: the clock is passed in.

A handler writes into `Reported` as often as it likes; `Meter` turns it into a `Progress` a few times a second.
"""

import math
from typing import Any, NamedTuple

from .text import clean_text

MAX_PERCENT_RUNNING = 99.9
"""100 is the completed job's alone."""

RATE_AFTER_S = 3.0
"""Before the count was watched for this long, a rate would be noise."""

RATE_TIME_CONSTANT_S = 8.0
"""How long the smoothed rate remembers: an estimate that follows, but does not jump about."""

RATE_STEPS = 5
"""Over how many steps it remembers at least: work that moves once a minute has a pace too."""

MAX_ETA_S = 10 * 366 * 24 * 3600
"""What is further off counts as unknown. It must end somewhere: the record holds 64 bits."""

MAX_MESSAGE_CHARS = 500
MAX_WORD_CHARS = 80


class Progress(NamedTuple):
    """What clients see. `percent`: 0-100 with one decimal, rounded down, `None` while unknown."""

    percent: float | None = None
    done: int | float | None = None
    total: int | float | None = None
    unit: str | None = None
    message: str | None = None
    step: str | None = None
    rate_per_second: float | None = None
    eta_s: int | None = None


class Meter:
    """One attempt's progress over time: percent that never goes back, a smoothed rate, the time left."""

    def __init__(self, started_s: float, *, median_s: float | None = None) -> None:
        """`started_s`: a monotonic clock's value. `median_s`: the type's usual run time, if it is known."""
        self._median_s = median_s
        self._percent: float | None = None
        self._pace_of = _PaceOf(started_s)

    def initial(self) -> Progress:
        """What is published before the handler has said anything."""
        return Progress(eta_s=_seconds(self._median_s))

    def read(self, values: tuple[Any, ...], now_s: float) -> Progress:
        """What to publish for a handler's newest `values` (see `Reported.take`). Odd values count as unknown."""
        done, total, percent = (_number(value) for value in values[:3])
        unit, message, step = values[3:]
        if total is not None and total < 0:
            total = None
        self._raise_percent(done, total, percent)
        rate, eta = self._pace(done, total, now_s)
        return Progress(
            percent=self._percent,
            done=done,
            total=total,
            unit=_text(unit, MAX_WORD_CHARS),
            message=_text(message, MAX_MESSAGE_CHARS),
            step=_text(step, MAX_WORD_CHARS),
            rate_per_second=rate,
            eta_s=eta,
        )

    def _raise_percent(self, done: float | None, total: float | None, percent: float | None) -> None:
        if percent is None and done is not None and total is not None:
            percent = 100 * done / total if total else 0.0
        if percent is None:
            return
        # The smallest nudge keeps 100 * 0.29 from becoming 28.9: binary fractions fall just below.
        floored = math.floor(min(max(percent, 0.0), MAX_PERCENT_RUNNING) * 10 + 1e-9) / 10
        self._percent = max(floored, self._percent or 0.0)

    def _pace(self, done: float | None, total: float | None, now_s: float) -> tuple[float | None, int | None]:
        position, end = (done, total) if done is not None else (self._percent, 100.0)
        if position is None:
            return None, _seconds(self._median_s)
        pace = self._pace_of.at(position, now_s)
        if pace is None or now_s - self._pace_of.since_s < RATE_AFTER_S:
            return None, _seconds(self._median_s) if self._percent is None else None
        left_s = None if end is None else pace.left_s(end - position)
        return (_round_rate(pace.rate) if done is not None else None), _seconds(left_s)


class _Pace(NamedTuple):
    """Units a second, and how long ago the last step was, as far as that is no longer than a step usually takes."""

    rate: float
    waited_s: float

    def left_s(self, units: float) -> float | None:
        """Between two steps the time goes on, so that the next step makes no jump."""
        return None if self.rate <= 0 else max(0.0, units / self.rate - self.waited_s)


class _PaceOf:
    """The pace of a position, smoothed over time and over steps. A position that falls starts the measure anew."""

    def __init__(self, started_s: float) -> None:
        self._begin(0.0, started_s)
        self._known = False

    def at(self, position: float, now_s: float) -> _Pace | None:
        """The pace now; `None` until the position has moved."""
        if not self._known or position < self._last:
            # The first position too: an attempt that resumes at row 120,000 did not read those now.
            self._begin(position, now_s)
        elif position > self._last and now_s > self._last_s:
            self._move(position, now_s)
        return None if self._rate is None else self._now(self._rate, max(0.0, now_s - self._last_s))

    def _begin(self, position: float, now_s: float) -> None:
        self._known = True
        self.since_s = self._last_s = now_s
        self._first = self._last = position
        self._rate: float | None = None
        self._step = 0.0
        self._steps = 0

    def _move(self, position: float, now_s: float) -> None:
        self._step, passed_s = position - self._last, now_s - self._last_s
        self._last, self._last_s = position, now_s
        self._steps += 1
        if self._rate is None or self._steps <= RATE_STEPS or now_s - self.since_s < RATE_TIME_CONSTANT_S:
            # Young: the plain average is steadier than a filter that still forgets its start.
            self._rate = (position - self._first) / (now_s - self.since_s)
        else:
            self._rate += _weight(passed_s, passed_s) * (self._step / passed_s - self._rate)

    def _now(self, rate: float, idle_s: float) -> _Pace:
        """A step that is late makes the pace slower, bit by bit; one that is not due yet says nothing."""
        if rate <= 0 or idle_s * rate <= self._step:
            return _Pace(rate, idle_s)
        usual_s = self._step / rate
        slower = rate + _weight(idle_s - usual_s, usual_s) * (self._step / idle_s - rate)
        return _Pace(slower, usual_s)


def _weight(passed_s: float, step_s: float) -> float:
    """What `passed_s` seconds count against all before: however long a step takes, one alone turns nothing over."""
    return 1 - math.exp(-passed_s / max(RATE_TIME_CONSTANT_S, RATE_STEPS * step_s))


def _number(value: Any) -> int | float | None:
    """A finite number that JSON and SQLite can hold, else `None`. `True` is not a number of anything."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) < 2**63 else None  # false for NaN too


def _text(value: Any, most: int) -> str | None:
    if value is None:
        return None
    try:
        text = clean_text(str(value))
    except Exception:  # noqa: BLE001 - the author's object, or an integer of 5,000 digits: no reason to stop the ticker
        return None
    return text if len(text) <= most else text[: most - 1] + "…"


def _round_rate(rate: float) -> float:
    return round(rate, 1) if rate < 100 else float(round(rate))  # noqa: PLR2004 - three figures are enough


def _seconds(value: float | None) -> int | None:
    return math.ceil(value) if value is not None and value <= MAX_ETA_S else None  # false for NaN too
