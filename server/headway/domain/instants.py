"""Instants as the record holds them: milliseconds since 1970, in UTC."""

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)


def to_ms(at: datetime) -> int:
    """Milliseconds since 1970, rounded down."""
    return (at - EPOCH) // MILLISECOND


def from_ms(ms: int) -> datetime:
    """The instant that is `ms` milliseconds after 1970."""
    return EPOCH + timedelta(milliseconds=ms)


def whole_ms(at: datetime) -> datetime:
    """`at`, rounded down to the millisecond."""
    return at.replace(microsecond=at.microsecond // 1000 * 1000)
