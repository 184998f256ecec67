"""Durations and instants, as people write them."""

import re
from datetime import UTC, datetime, timedelta

from ..printing import fail

UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"(\d{1,9}(?:\.\d+)?)([smhd])")


def seconds_of(text: str, option: str) -> float:
    """Seconds of `90s`, `15m`, `12h` or `30d`. Exits if the text is none of these."""
    found = _DURATION.fullmatch(text)
    if found is None:
        fail(f"{option}: write a number and a unit, like 90s, 15m, 12h or 30d")
    return float(found[1]) * UNIT_S[found[2]]


def instant_of(text: str, option: str, *, direction: int = 1) -> datetime:
    """The instant of RFC 3339, or so long from now: `direction` -1 is before. Without a time zone it is local time."""
    if _DURATION.fullmatch(text):
        try:
            return datetime.now(UTC) + direction * timedelta(seconds=seconds_of(text, option))
        except OverflowError:
            fail(f"{option}: {text} is too long")
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError:
        fail(f"{option}: write a time like 15m or 2h, or an instant like 2026-03-01T12:00:00Z")
