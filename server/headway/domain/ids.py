"""Job ids: UUIDv7, so that they sort by time and index inserts stay local."""

import re
import secrets
from datetime import datetime

from .instants import from_ms, to_ms

JOB_ID = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
_ID = re.compile(JOB_ID)


def is_job_id(text: str) -> bool:
    """Whether `text` is a UUIDv7 in canonical form. No job has any other id."""
    return _ID.fullmatch(text) is not None


class JobIds:
    """Makes UUIDv7 ids (RFC 9562, 5.7) that grow strictly, even within one millisecond and when the clock is set back.

    The 12 bits of `rand_a` count within a millisecond (RFC 9562, 6.2, method 1); a full counter continues in the next
    millisecond. The other 62 bits are random. They are drawn for hundreds of ids at once, because a call of the system
    costs more than the rest of an id.
    """

    def __init__(self) -> None:
        self._last = 0  # milliseconds << 12 | counter
        self._tails: list[str] = []

    def new(self, at: datetime) -> tuple[str, datetime]:
        """An id and the instant that it carries: `at`, or a little later."""
        self._last = max(self._last + 1, to_ms(at) << 12)
        ms, counter = self._last >> 12, self._last & 0xFFF
        if not self._tails:
            self._tails = _random_tails(256)
        return _uuid7_text(ms, counter, self._tails.pop()), from_ms(ms)


def _random_tails(count: int) -> list[str]:
    """The ends of ids: the variant and 62 random bits."""
    drawn = secrets.token_bytes(8 * count)
    return [_tail(int.from_bytes(drawn[at : at + 8]) >> 2) for at in range(0, len(drawn), 8)]


def _tail(rand: int) -> str:
    text = f"{(0b10 << 62) | rand:016x}"
    return f"{text[:4]}-{text[4:]}"


def first_id_at_ms(ms: int) -> str:
    """The smallest id that a job created at `ms` can have: `createdAfter` as a range over ids.

    An instant that no id can carry (before 1970, after 10889) becomes the nearest one that can be carried.
    """
    return _uuid7_text(min(max(ms, 0), (1 << 48) - 1), 0, _tail(0))


def _uuid7_text(ms: int, counter: int, tail: str) -> str:
    head = f"{ms:012x}"
    return f"{head[:8]}-{head[8:]}-7{counter:03x}-{tail}"
