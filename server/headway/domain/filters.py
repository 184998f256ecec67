"""Which jobs a list or a stream shows, in which order, and where a list's next page begins: filters, words, cursors."""

import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, Self

from .ids import JOB_ID
from .jobs import Job, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """Which jobs a list or a stream shows. An empty field does not restrict it."""

    statuses: frozenset[Status] = frozenset()
    types: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()
    label: str | None = None
    metadata: frozenset[tuple[str, str]] = frozenset()
    """Names and values: a job has all of them."""
    created_after: datetime | None = None
    created_before: datetime | None = None
    updated_after: datetime | None = None
    terms: frozenset[str] = frozenset()
    """What `terms_of` makes of a search: a job has all of these words."""

    def matches(self, job: Job) -> bool:
        """Whether the list or stream shows this job."""
        return (
            (not self.statuses or job.status in self.statuses)
            and (not self.types or job.type in self.types)
            and (not self.ids or job.id in self.ids)
            and (self.label is None or job.label == self.label)
            and (not self.metadata or self.metadata.issubset(job.metadata))
            and (self.created_after is None or job.created_at > self.created_after)
            and (self.created_before is None or job.created_at < self.created_before)
            and (self.updated_after is None or job.updated_at > self.updated_after)
            and (not self.terms or all_found(self.terms, words_now(job)))
        )


MOST_WORDS, MOST_CHARS = 60, 60
"""A search looks at this many different words of a job, and at this many characters of each."""
MOST_TERMS = 10
_WORD = re.compile(r"[^\W_]+")
_TERM = re.compile(r"([^\W_]+)(\*?)")


def words_of(*texts: str | None) -> frozenset[str]:
    """The words of texts, without differences that readers do not see (Unicode, NFKC), in lower case."""
    found: dict[str, None] = {}
    for text in texts:
        for word in _WORD.findall(_folded(text)) if text else ():
            found[word[:MOST_CHARS]] = None
            if len(found) == MOST_WORDS:
                return frozenset(found)
    return frozenset(found)


def terms_of(query: str) -> frozenset[str]:
    """What a search asks for: words, and with `*` behind them beginnings of words. Raises `ValueError`."""
    found = frozenset(word[:MOST_CHARS] + star for word, star in _TERM.findall(_folded(query)))
    if not found:
        raise ValueError("has no word to search for")
    if len(found) > MOST_TERMS:
        raise ValueError(f"has {len(found)} words, and may have {MOST_TERMS}")
    return found


def all_found(terms: frozenset[str], words: frozenset[str]) -> bool:
    """Whether each term is one of the words, or begins one."""
    return all(
        any(word.startswith(term[:-1]) for word in words) if term.endswith("*") else term in words for term in terms
    )


def recorded_words(job: Job) -> frozenset[str]:
    """The words by which the record finds a job: those of its label, and of its message once that is the last."""
    return words_of(job.label, job.progress.message if job.terminal else None)


def words_now(job: Job) -> frozenset[str]:
    """The words by which a job is found. What a queued one says is left from an earlier attempt."""
    return words_of(job.label, None if job.status is Status.QUEUED else job.progress.message)


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


class SortKey(StrEnum):
    """What a list is sorted by. Jobs with equal values are in the order in which they were created."""

    CREATED = "createdAt"
    UPDATED = "updatedAt"
    ENDED = "completedAt"
    """Only jobs that have ended have one: such a list shows no others."""
    PRIORITY = "priority"


class Order(NamedTuple):
    """The order of a list."""

    key: SortKey = SortKey.CREATED
    descending: bool = True

    @classmethod
    def named(cls, name: str) -> Self:
        """The order that clients call so: `createdAt`, or `-createdAt` for the opposite. Raises `ValueError`."""
        return cls(SortKey(name.removeprefix("-")), name.startswith("-"))

    def __str__(self) -> str:
        return f"-{self.key}" if self.descending else str(self.key)


NEWEST_FIRST = Order()
"""The order of a list for which none is asked for."""
ORDERS = tuple(Order(key, descending) for key in SortKey for descending in (True, False))

_VALUED = "|".join(key for key in SortKey if key is not SortKey.CREATED)
CURSOR_PATTERN = rf"(?:-?{SortKey.CREATED}~|-?(?:{_VALUED})~-?[0-9]{{1,18}}~)?{JOB_ID}"
"""An id; before it the order, unless it is the newest first, and the value of the job, if the order has values."""
_CURSOR = re.compile(CURSOR_PATTERN)
OF_ANOTHER_LIST = "belongs to a list that is sorted by"


class Cursor(NamedTuple):
    """A place in an order: behind the job with this value and id, whether or not there is one any more.

    `value` is a priority, or milliseconds since 1970; `None` if the list is sorted by creation: the id has that time.
    """

    order: Order
    value: int | None
    id: str

    @classmethod
    def read(cls, text: str, order: Order) -> Self:
        """The cursor of a list that has this order. Raises `ValueError`, which says what is wrong."""
        if not _CURSOR.fullmatch(text):
            raise ValueError("is not a cursor of this list")
        *place, job_id = text.split("~")
        of = place[0] if place else str(NEWEST_FIRST)
        if of != str(order):
            raise ValueError(f"{OF_ANOTHER_LIST} {of}, and this one is sorted by {order}")
        return cls(order, int(place[1]) if len(place) > 1 else None, job_id)

    def __str__(self) -> str:
        if self.order == NEWEST_FIRST:
            return self.id
        return f"{self.order}~{self.id}" if self.value is None else f"{self.order}~{self.value}~{self.id}"
