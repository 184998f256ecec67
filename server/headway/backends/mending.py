"""What can be read of a damaged row: each value that is valid, and for any other one that can be shown.

An editor, a disk or an older version may have damaged it. No list, stream or sweep breaks because of one row; the log
says which it was, once.
"""

import json
import math
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar

import structlog

from ..domain.instants import EPOCH, nearest_to_ms

log = structlog.get_logger(__name__)

E = TypeVar("E", bound=StrEnum)
T = TypeVar("T")
REPORTED_ROWS_KEPT = 10_000

_reported: OrderedDict[tuple[str, str], None] = OrderedDict()


def report(table: str, row: object, columns: object) -> None:
    """Log that a row is damaged, unless that has been logged before."""
    key = (table, str(row))
    if key in _reported:
        return
    _reported[key] = None
    if len(_reported) > REPORTED_ROWS_KEPT:
        _reported.popitem(last=False)
    log.warning("a row of the record is damaged; what can be read of it is served", table=table, row=key[1], of=columns)


class Mending:
    """Reads the values of one row, and notes the columns whose value is not valid. None of its functions raises."""

    def __init__(self, table: str, row: object) -> None:
        self._table = table
        self._row = row
        self.damaged: list[str] = []

    def report(self) -> None:
        """Log which columns were damaged, if any."""
        if self.damaged:
            report(self._table, self._row, ", ".join(self.damaged))

    def text(self, column: str, value: object, otherwise: str = "") -> str:
        return self.optional_text(column, value) or otherwise

    def optional_text(self, column: str, value: object) -> str | None:
        """Bytes, and text that UTF-8 cannot hold, with replacement characters."""
        if value is None:
            return None
        if isinstance(value, str) and _is_utf_8(value):
            return value
        self.damaged.append(column)
        if isinstance(value, bytes):
            return value.decode("utf-8", "replace")
        return str(value).encode("utf-8", "surrogatepass").decode("utf-8", "replace")

    def whole(self, column: str, value: object, otherwise: int = 0) -> int:
        return otherwise if (found := self.optional_whole(column, value)) is None else found

    def optional_whole(self, column: str, value: object) -> int | None:
        if value is None or isinstance(value, int):
            return value
        self.damaged.append(column)
        return None

    def number(self, column: str, value: object) -> float | None:
        """A finite number."""
        if value is None or (isinstance(value, int | float) and math.isfinite(value)):
            return value
        self.damaged.append(column)
        return None

    def instant(self, column: str, value: object, otherwise: datetime = EPOCH) -> datetime:
        return self.optional_instant(column, value) or otherwise

    def optional_instant(self, column: str, value: object) -> datetime | None:
        """Of one that no calendar has, the nearest."""
        ms = self.optional_whole(column, value)
        if ms is None:
            return None
        at = nearest_to_ms(ms)
        if not nearest_to_ms(ms - 1) < at < nearest_to_ms(ms + 1):
            self.damaged.append(column)
        return at

    def member(self, column: str, value: Any, enum: type[E], otherwise: E) -> E:
        try:
            return enum(value)
        except ValueError:
            self.damaged.append(column)
            return otherwise

    def from_json(self, column: str, value: Any, make: Callable[[Any, "Mending"], T], otherwise: T) -> T:
        """What `make` makes of JSON text; `otherwise` if it raises, or if the text is no JSON."""
        if value is None:
            return otherwise
        try:
            return make(json.loads(value), self)
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            self.damaged.append(column)
            return otherwise


def _is_utf_8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
