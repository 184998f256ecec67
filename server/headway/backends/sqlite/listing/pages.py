"""A page of a list. It costs the same however many jobs there are.

It passes over `SCANNED` jobs at most. If few of them match the filter, the page is short, or even empty, and its cursor
says where the next one goes on.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from ....domain.filters import Cursor, JobFilter, Order, SortKey
from ....domain.ids import is_job_id
from ..database import Database
from ..rows import COLUMNS, ID, Parameters, Row
from ..statements import SQL
from .walks import ALTERNATIVES, CREATED, Walk, Wanted, of_filter, of_ids, of_order, of_times, of_update, of_words

LAST_CHARACTER = "\U0010ffff"
SCANNED = 500
"""How many jobs are examined for a page. Reading them takes some milliseconds, in a thread of the database."""
_COLUMN = {SortKey.UPDATED: 9, SortKey.ENDED: 10, SortKey.PRIORITY: 5}
"""Positions in `COLUMNS`."""


class Statement(NamedTuple):
    """SQL and its parameters."""

    sql: str
    parameters: Parameters


class Pages:
    """Reads pages of lists from the file."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(
        self,
        owners: Sequence[str],
        filter: JobFilter,
        order: Order,
        limit: int,
        after: Cursor | None,
        live: frozenset[str] = frozenset(),
        columns: str = COLUMNS,
    ) -> tuple[list[Row], Cursor | None]:
        """At most `limit` rows of these columns, and where the next page begins (`None`: there is none).

        `columns`: `IDENTITY` is enough for a list that is sorted by creation.
        `live`: the ids of jobs that are known to match, though the record does not say so yet.
        """
        wanted, place = Wanted.of(filter, order), placed(order)
        rows: dict[Any, Row] = {}
        ends: list[Cursor] = []
        for owner in owners:
            found, end = await self._of_owner(owner, filter, wanted, limit + 1, after, columns)
            if live:
                found += await self._live(owner, filter, order, limit + 1, after, live, columns)
            rows |= {row[ID]: row for row in found}
            if end is not None:
                ends.append(end)
        return _cut(sorted(rows.values(), key=place, reverse=order.descending), ends, order, limit)

    async def _live(
        self,
        owner: str,
        filter: JobFilter,
        order: Order,
        limit: int,
        after: Cursor | None,
        live: frozenset[str],
        columns: str,
    ) -> list[Row]:
        """Those of the running jobs that match which follow in the list."""
        known = replace(filter, ids=live & filter.ids if filter.ids else live, updated_after=None, terms=frozenset())
        if not known.ids:
            return []
        wanted = Wanted.of(known, order)
        return await self._database.all(*page(owner, of_ids(wanted), wanted, limit, after, columns=columns))

    async def _words(self, owner: str, filter: JobFilter) -> dict[str, list[str]]:
        """The recorded words that fit each term, some more than are read at most if there are many."""
        found: dict[str, list[str]] = {}
        for term in sorted(filter.terms):
            first = term.removesuffix("*")
            where = {"owner": owner, "first": first, "end": first + LAST_CHARACTER, "most": ALTERNATIVES + 1}
            rows = await self._database.all(SQL["words_beginning"], where) if term.endswith("*") else [(term,)]
            found[term] = [word for (word,) in rows]
        return found

    async def _of_owner(
        self, owner: str, filter: JobFilter, wanted: Wanted, limit: int, after: Cursor | None, columns: str
    ) -> tuple[list[Row], Cursor | None]:
        """At most `limit` rows of one owner; and where the search was given up, if it was."""
        walk, wanted, end = await self._choose(owner, filter, wanted, after)
        return await self._database.all(*page(owner, walk, wanted, limit, after, end, columns)), end

    async def _choose(
        self, owner: str, filter: JobFilter, wanted: Wanted, after: Cursor | None
    ) -> tuple[Walk, Wanted, Cursor | None]:
        """The way to the jobs, the list with the values that it takes, and how far it is followed."""
        if filter.ids:
            return of_ids(wanted), wanted, None
        by_filter = of_filter(filter)
        if filter.terms:
            by_words, wanted = of_words(wanted, await self._words(owner, filter))
            by_filter = by_words + by_filter
        if wanted.key is None:
            walk, end = await self._by_creation(owner, by_filter or [of_order(wanted)], wanted, after)
        else:
            walk, end = await self._by_key(owner, by_filter, wanted, after)
        return walk, wanted, end

    async def _by_creation(
        self, owner: str, walks: Sequence[Walk], wanted: Wanted, after: Cursor | None
    ) -> tuple[Walk, Cursor | None]:
        """The way that leaves the fewest jobs to be examined, and how far it is followed; `None`: to its end.

        Of ways that all have their jobs in the order of creation, it is the one that leads the furthest with as many
        jobs as are examined.
        """
        by_update = of_update(wanted)
        if len(walks) == 1 and by_update is None and not wanted.conditions.keys() - walks[0].fulfils - CREATED:
            return walks[0], None
        *ends, updated = await self._database.one(*choosing(owner, walks, by_update, wanted, after)) or ()
        if by_update is not None and updated <= SCANNED:
            return by_update, None
        cursors = [_cursor((None, job_id), wanted.order) for job_id in ends]
        if None in cursors:
            return walks[cursors.index(None)], None
        furthest = min if wanted.order.descending else max
        end = furthest((cursor for cursor in cursors if cursor is not None), key=_place_of)
        return walks[cursors.index(end)], end

    async def _by_key(
        self, owner: str, by_filter: Sequence[Walk], wanted: Wanted, after: Cursor | None
    ) -> tuple[Walk, Cursor | None]:
        """The index of the list's order, and how far it is read; or a way to so few jobs that all can be sorted."""
        walk = of_order(wanted)
        if not wanted.conditions.keys() - walk.fulfils:
            return walk, None
        candidates = [*by_filter, *of_times(wanted)]
        counts = await self._database.one(*counting(owner, candidates, wanted)) if candidates else None
        if counts is not None and (fewest := min(counts)) <= SCANNED:
            return candidates[counts.index(fewest)], None
        last = boundary(owner, walk, wanted, after)
        return walk, _cursor(await self._database.one(*last), wanted.order)


# Statements


def page(
    owner: str,
    walk: Walk,
    wanted: Wanted,
    limit: int,
    after: Cursor | None,
    end: Cursor | None = None,
    columns: str = COLUMNS,
) -> Statement:
    """The jobs behind `after`, up to `end`, in the list's order."""
    more = _after(after, walk, wanted, "after") + _until(end, walk, wanted)
    found = _merged(walk, wanted, wanted.beside(walk) + more)
    sql = f"SELECT {columns} FROM jobs WHERE rowid IN (SELECT r FROM ({found} LIMIT :limit))"  # noqa: S608 - constants
    return Statement(sql, _parameters(owner, wanted, after, end) | {"limit": limit})


def boundary(owner: str, walk: Walk, wanted: Wanted, after: Cursor | None) -> Statement:
    """The last of the jobs that are examined."""
    sql = f"SELECT k, i FROM ({_examined(walk, wanted, after)} LIMIT 1 OFFSET :passed)"  # noqa: S608 - constants
    return Statement(sql, _parameters(owner, wanted, after, None) | {"passed": SCANNED - 1})


def choosing(
    owner: str, walks: Sequence[Walk], by_update: Walk | None, wanted: Wanted, after: Cursor | None
) -> Statement:
    """For each way, the id of the last job that is examined; then what `counting` finds out about `by_update`."""
    each = [f"(SELECT i FROM ({_examined(walk, wanted, after)} LIMIT 1 OFFSET :passed))" for walk in walks]  # noqa: S608
    each.append("NULL" if by_update is None else _count(by_update, wanted))
    parameters = _parameters(owner, wanted, after, None) | {"passed": SCANNED - 1, "most": SCANNED + 1}
    return Statement(f"SELECT {', '.join(each)}", parameters)


def counting(owner: str, walks: Sequence[Walk], wanted: Wanted) -> Statement:
    """How many jobs each of these ways leads to, up to one more than are examined."""
    counts = ", ".join(_count(walk, wanted) for walk in walks)
    return Statement(f"SELECT {counts}", wanted.parameters | {"owner": owner, "most": SCANNED + 1})


def _count(walk: Walk, wanted: Wanted) -> str:
    found = " UNION ALL ".join(f"SELECT 1 FROM {each}" for each in wanted.ranges(walk, with_jobs=False))  # noqa: S608 - constants
    return f"(SELECT count(*) FROM ({found} LIMIT :most))"  # noqa: S608


def _examined(walk: Walk, wanted: Wanted, after: Cursor | None) -> str:
    """The jobs that a way leads to, behind `after`: each of them is looked at, whatever else is asked of it."""
    within = "".join(
        f" AND {wanted.conditions[name].replace('{id}', walk.id)}"
        for name in sorted(CREATED & wanted.conditions.keys())
        if wanted.key is None
    )
    return _merged(walk, wanted, within + _after(after, walk, wanted, "after"), with_jobs=False)


def _merged(walk: Walk, wanted: Wanted, more: str, *, with_jobs: bool = True) -> str:
    """All ranges as one, sorted. SQLite merges them, and reads no further than it has to."""
    key = wanted.key or "NULL"
    direction = "DESC" if wanted.order.descending else "ASC"
    columns = f"{key} AS k, {walk.id} AS i" + (", jobs.rowid AS r" if with_jobs else "")
    ranges = [f"SELECT {columns} FROM {each}{more}" for each in wanted.ranges(walk, with_jobs=with_jobs)]  # noqa: S608 - constants
    by = f"2 {direction}" if wanted.key is None else f"1 {direction}, 2 {direction}"
    union = " UNION " if walk.repeats else " UNION ALL "
    return f"{union.join(ranges)} ORDER BY {by}"


def _after(after: Cursor | None, walk: Walk, wanted: Wanted, name: str) -> str:
    return "" if after is None else _compared(walk, wanted, "<" if wanted.order.descending else ">", name)


def _until(end: Cursor | None, walk: Walk, wanted: Wanted) -> str:
    return "" if end is None else _compared(walk, wanted, ">=" if wanted.order.descending else "<=", "end")


def _compared(walk: Walk, wanted: Wanted, sign: str, name: str) -> str:
    if wanted.key is None:
        return f" AND {walk.id} {sign} :{name}_id"
    return f" AND ({wanted.key}, {walk.id}) {sign} (:{name}_value, :{name}_id)"


def _parameters(owner: str, wanted: Wanted, after: Cursor | None, end: Cursor | None) -> Parameters:
    parameters = wanted.parameters | {"owner": owner}
    for name, cursor in (("after", after), ("end", end)):
        if cursor is not None:
            parameters |= {f"{name}_id": cursor.id, f"{name}_value": cursor.value}
    return parameters


# Places in an order


def _cut(rows: list[Row], ends: Sequence[Cursor], order: Order, limit: int) -> tuple[list[Row], Cursor | None]:
    """The page that sorted rows make. `ends`: where the search for some owners' jobs was given up."""
    if ends:  # what lies behind the first of them was not looked at everywhere
        place = placed(order)
        nearest = (max if order.descending else min)(ends, key=_place_of)
        rows = [row for row in rows if not _is_behind(place(row), _place_of(nearest), order)]
        if len(rows) <= limit:
            return rows, nearest
    return rows[:limit], _last(rows[:limit], order) if len(rows) > limit else None


def placed(order: Order) -> Any:
    """What rows are sorted by. Those with a damaged id, which may be bytes, or a damaged value are somewhere."""
    column = _COLUMN.get(order.key)

    def place(row: Row) -> tuple[int, str]:
        value = 0 if column is None else row[column]
        return value if isinstance(value, int) else 0, str(row[ID])

    return place


def _place_of(cursor: Cursor) -> tuple[int, str]:
    return cursor.value or 0, cursor.id


def _is_behind(place: tuple[int, str], end: tuple[int, str], order: Order) -> bool:
    return place < end if order.descending else place > end


def _last(rows: Sequence[Row], order: Order) -> Cursor | None:
    """Behind the last row, unless that is damaged: then behind the last that is not."""
    column = _COLUMN.get(order.key)
    found = (_cursor((None if column is None else row[column], row[ID]), order) for row in reversed(rows))
    return next((cursor for cursor in found if cursor is not None), None)


def _cursor(row: Row | None, order: Order) -> Cursor | None:
    """The cursor behind a value and an id; `None` if one of them is damaged."""
    if row is None:
        return None
    value, job_id = row
    by_id = order.key is SortKey.CREATED
    if not is_job_id(str(job_id)) or not (by_id or isinstance(value, int)):
        return None
    return Cursor(order, None if by_id else value, job_id)
