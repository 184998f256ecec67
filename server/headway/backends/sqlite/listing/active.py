"""The active jobs that a stream of many begins with, and those that have just ended."""

from collections.abc import Sequence
from operator import itemgetter

from ....domain.filters import JobFilter
from ..rows import ENDED_AT, ID, STATUS, Parameters, Row
from .conditions import ID as ID_COLUMN
from .conditions import conditions


def active_where(filter: JobFilter) -> tuple[str, Parameters]:
    """The filter as what follows a `WHERE` of `queries/active.sql`.

    If certain jobs are asked for, no index is read by a range of ids: that may be all jobs of an owner.
    """
    found, parameters = conditions(filter)
    column = "+jobs.id" if filter.ids else "jobs.id"
    return "".join(f"AND {condition.replace(ID_COLUMN, column)} " for condition in found.values()), parameters


def _by_id(row: Row) -> str:
    """To sort rows by. Those with damaged ids, which may be bytes, are somewhere."""
    return str(row[ID])


def first_active(rows: Sequence[Row], limit: int) -> list[Row]:
    """The first `limit` active jobs of several owners, running ones first, newest first; then as many that ended."""
    newest = sorted(rows, key=_by_id, reverse=True)
    running, queued = ([row for row in newest if row[STATUS] == status] for status in ("running", "queued"))
    ended = sorted((row for row in rows if isinstance(row[ENDED_AT], int)), key=itemgetter(ENDED_AT), reverse=True)
    return (running + queued)[:limit] + ended[:limit]
