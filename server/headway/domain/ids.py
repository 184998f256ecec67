"""Job ids: UUIDv7, so that they sort by time and index inserts stay local."""

import re
import secrets
from datetime import datetime

from .instants import from_ms, to_ms

JOB_ID = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
_ID = re.compile(JOB_ID)
_VARIANT = {f"{digit:x}": f"{0b1000 | digit & 0b11:x}" for digit in range(16)}
"""Two random bits behind the variant (RFC 9562, 4.1), for each random digit."""
_FIRST_TAIL = "8000-000000000000"


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
        self._ms, self._at, self._begins = 0, from_ms(0), _first_parts(0)
        """The millisecond of the last id, and what its ids have in common."""

    def new(self, at: datetime) -> tuple[str, datetime]:
        """An id and the instant that it carries: `at`, or a little later."""
        return self.new_at_ms(to_ms(at))

    def new_at_ms(self, at_ms: int) -> tuple[str, datetime]:
        """The same for milliseconds since 1970."""
        last, earliest = self._last + 1, at_ms << 12
        self._last = last = earliest if earliest > last else last  # noqa: FURB136 - a fifth of what `max` takes
        ms, counter = last >> 12, last & 0xFFF
        if ms != self._ms:
            self._ms, self._at, self._begins = ms, from_ms(ms), _first_parts(ms)
        if not self._tails:
            self._tails = _random_tails(256)
        return "%s-7%03x-%s" % (self._begins, counter, self._tails.pop()), self._at  # noqa: UP031 - see `_first_parts`


def _random_tails(count: int) -> list[str]:
    """The ends of ids: the variant and 62 random bits."""
    drawn = secrets.token_hex(8 * count)
    return [
        f"{_VARIANT[drawn[at]]}{drawn[at + 1 : at + 4]}-{drawn[at + 4 : at + 16]}" for at in range(0, len(drawn), 16)
    ]


def first_id_at_ms(ms: int) -> str:
    """The smallest id that a job created at `ms` can have: `createdAfter` as a range over ids.

    An instant that no id can carry (before 1970, after 10889) becomes the nearest one that can be carried.
    """
    return f"{_first_parts(min(max(ms, 0), (1 << 48) - 1))}-7000-{_FIRST_TAIL}"


def _first_parts(ms: int) -> str:
    return "%08x-%04x" % (ms >> 16, ms & 0xFFFF)  # noqa: UP031 - half the time of an f-string
