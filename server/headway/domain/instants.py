"""Instants as the record holds them: milliseconds since 1970, in UTC."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
EARLIEST = datetime.min.replace(tzinfo=UTC)
LATEST = datetime.max.replace(microsecond=999_000, tzinfo=UTC)


def to_ms(at: datetime) -> int:
    """Milliseconds since 1970, rounded down."""
    return (at - EPOCH) // MILLISECOND


@lru_cache(maxsize=1_024)
def from_ms(ms: int) -> datetime:
    """The instant that is `ms` milliseconds after 1970.

    Cached, because most instants of jobs are equal: what changes in one transaction changes at one time, and each row
    repeats when the job was created.
    """
    return EPOCH + ms * MILLISECOND


def nearest_to_ms(ms: int) -> datetime:
    """Like `from_ms`; for an instant that no calendar has, the first or the last one."""
    try:
        return from_ms(ms)
    except OverflowError:
        return LATEST if ms > 0 else EARLIEST


def whole_ms(at: datetime) -> datetime:
    """`at`, rounded down to the millisecond."""
    return at.replace(microsecond=at.microsecond // 1000 * 1000)
