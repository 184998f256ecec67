"""The kind of a CSV column: numbers, dates or just text, whichever all of its cells can be read as."""

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from math import isfinite
from typing import Final

MISSING: Final = frozenset(
    ("", "NA", "N/A", "n/a", "#N/A", "NULL", "Null", "null", "None", "NaN", "nan", "NAN"),
)
"""The ways in which tables mark a missing value."""

Shown = int | float | str

_TRUTHS: Final = tuple(map(frozenset, (("true", "false"), ("yes", "no"), ("y", "n"), ("t", "f"))))
# Integers from here on do not survive the conversion to a float.
_EXACT_INTEGER: Final = 2**53
_SAMPLE: Final = 200
_TOLERANCE: Final = 0.01


class Kind(ABC):
    """A way to read a column: converts values to floats, which can be compared and counted, and back."""

    type: str = "text"
    form: str | None = None
    """The format of dates that are not in ISO 8601."""

    @abstractmethod
    def read(self, values: Sequence[str]) -> list[float]:
        """Read all values at once, which is fast. Raises ValueError if one does not fit."""

    def read_each(self, values: Sequence[str]) -> list[float | None]:
        """Read the values, one by one if necessary: None for each that does not fit."""
        try:
            return [*self.read(values)]
        except ValueError:
            pass
        return [self._read_one(value) for value in values]

    @abstractmethod
    def show(self, value: float) -> Shown:
        """Convert a float from `read` to what a report shows."""

    def _read_one(self, value: str) -> float | None:
        try:
            return self.read((value,))[0]
        except ValueError:
            return None


class Number(Kind):
    """Integers and decimal numbers. Codes such as `007` are not numbers, nor is what only Python accepts as one."""

    _LEADING_ZERO = re.compile(r"\n *[+-]?0[0-9]")

    def __init__(self) -> None:
        self.type = "integer"  # until a fraction or an exponent occurs

    def read(self, values: Sequence[str]) -> list[float]:
        numbers = list(map(float, values))
        text = "\n" + "\n".join(values)
        # Numbers in Python only: 1_000, nan, inf, Arabic digits.
        if "_" in text or "n" in text or "N" in text or not text.isascii() or self._LEADING_ZERO.search(text):
            raise ValueError(values)
        if not isfinite(sum(numbers)):  # 1e999
            raise ValueError(values)
        if self.type == "integer" and ("." in text or "e" in text or "E" in text):
            self.type = "number"
        return numbers

    def show(self, value: float) -> Shown:
        whole = self.type == "integer" and value.is_integer() and abs(value) < _EXACT_INTEGER
        return int(value) if whole else value


class GroupedNumber(Number):
    """`1,234.56`, or `1.234,56` as in much of Europe."""

    def __init__(self, group: str, decimal: str) -> None:
        self.type = "number"
        self._group, self._decimal = group, decimal
        group, decimal = re.escape(group), re.escape(decimal)
        whole = rf"(?:0|[1-9]\d*|[1-9]\d{{0,2}}(?:{group}\d{{3}})+)"
        self._pattern = re.compile(rf"[+-]?{whole}(?:{decimal}\d+)?", re.ASCII)

    def read(self, values: Sequence[str]) -> list[float]:
        if not all(map(self._pattern.fullmatch, values)):
            raise ValueError(values)
        return [float(value.replace(self._group, "").replace(self._decimal, ".")) for value in values]


class Truth(Kind):
    """Two words for yes and no."""

    type = "boolean"

    def read(self, values: Sequence[str]) -> list[float]:
        words = frozenset(map(str.lower, values))
        if not any(words <= pair for pair in _TRUTHS):
            raise ValueError(values)
        return [float(value[0] in "tTyY") for value in values]

    def show(self, value: float) -> Shown:
        return "true" if value else "false"


class Day(Kind):
    """`2026-03-31`, read as a day number."""

    type = "date"
    _WIDTH = len("2026-03-31")

    def read(self, values: Sequence[str]) -> list[float]:
        if set(map(len, values)) != {self._WIDTH}:
            raise ValueError(values)
        return [float(day.toordinal()) for day in map(date.fromisoformat, values)]

    def show(self, value: float) -> Shown:
        return date.fromordinal(round(value)).isoformat()


class LocalDay(Day):
    """A date in a local format, the same in the whole column."""

    def __init__(self, form: str) -> None:
        self.form = form
        separator = next(char for char in form if not char.isalpha())
        parts = form.split(separator)
        self._order = [parts.index(part) for part in ("YYYY", "MM", "DD")]
        widths = (r"(\d{4})" if part == "YYYY" else r"(\d{1,2})" for part in parts)
        self._pattern = re.compile(re.escape(separator).join(widths), re.ASCII)

    def read(self, values: Sequence[str]) -> list[float]:
        return [self._day(value) for value in values]

    def _day(self, value: str) -> float:
        match = self._pattern.fullmatch(value)
        if match is None:
            raise ValueError(value)
        parts = match.groups()
        year, month, day = (int(parts[position]) for position in self._order)
        return float(date(year, month, day).toordinal())


class Instant(Kind):
    """ISO 8601 date and time, as seconds since 1970. Like the first value, all have an offset or none has."""

    type = "datetime"
    _EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - for values without an offset
    _EPOCH_UTC = datetime(1970, 1, 1, tzinfo=UTC)
    # In UTC, an instant with an offset may be in the year 0 or 10000, which cannot be represented.
    _FIRST_S = (datetime(1, 1, 1) - _EPOCH).total_seconds()  # noqa: DTZ001
    _LAST_S = (datetime(9999, 12, 31, 23, 59, 59) - _EPOCH).total_seconds()  # noqa: DTZ001
    _SHORTEST = len("2026-03-31")

    def __init__(self) -> None:
        self._aware: bool | None = None

    def read(self, values: Sequence[str]) -> list[float]:
        if min(map(len, values)) < self._SHORTEST:  # fromisoformat would accept 20260331
            raise ValueError(values)
        instants = list(map(datetime.fromisoformat, values))
        if self._aware is None:
            self._aware = instants[0].tzinfo is not None
        epoch = self._EPOCH_UTC if self._aware else self._EPOCH
        try:
            seconds = [(instant - epoch).total_seconds() for instant in instants]
        except TypeError:
            raise ValueError(values) from None
        if min(seconds) < self._FIRST_S or max(seconds) > self._LAST_S:
            raise ValueError(values)
        return seconds

    def show(self, value: float) -> Shown:
        # datetime.fromtimestamp rejects years that C's time functions do not support.
        text = (self._EPOCH + timedelta(seconds=value)).isoformat(timespec="seconds")
        return text + "Z" if self._aware else text


class Words(Kind):
    """Anything else."""

    def read(self, values: Sequence[str]) -> list[float]:
        raise ValueError(values)

    def show(self, value: float) -> Shown:
        return value


def choose_kind(values: Sequence[str], delimiter: str) -> Kind:
    """Return the first kind that can read all of these distinct values, or all but one in a hundred.

    `values` must not be empty. If dates are ambiguous, they are day first with dots and month first with slashes.
    """
    kinds: list[Kind] = [Truth(), Number(), Day(), Instant(), GroupedNumber(",", ".")]
    if delimiter != ",":
        kinds.insert(-1, GroupedNumber(".", ","))
    kinds += map(LocalDay, ("DD.MM.YYYY", "MM/DD/YYYY", "DD/MM/YYYY", "YYYY/MM/DD", "DD-MM-YYYY"))
    for kind in kinds:
        if kind.read_each(values[:1]) == [None]:
            continue  # the first value rules out most kinds
        try:
            kind.read(values)
        except ValueError:
            continue
        return kind
    return _forgiving(kinds, values)


def _forgiving(kinds: list[Kind], values: Sequence[str]) -> Kind:
    """Choose a kind in spite of a few typing errors, which the report counts as misfits."""
    sample = list(islice(values, _SAMPLE))
    for kind in kinds[1:]:
        if kind.read_each(sample).count(None) <= 2 * _TOLERANCE * _SAMPLE and tolerable(
            kind.read_each(values).count(None), len(values)
        ):
            return kind
    return Words()


def tolerable(misfits: int, values: int) -> bool:
    """Whether so few values do not fit that the others determine the kind."""
    return misfits <= _TOLERANCE * values
