"""Which index a list is read from.

Each index that serves a filter also has the ids, so its jobs come in the order of their creation. In any other order
only the index of that order has them, and jobs that a filter leaves out are passed over: unless so few match one of the
conditions that they can all be read and sorted.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ....domain.filters import JobFilter, Order, SortKey
from ..rows import Parameters
from .conditions import ID, conditions

ALTERNATIVES = 20
"""Each type, or word, is read from its own range of the index, unless there are more than this."""
JOBS = "{jobs}"
"""Stands for the jobs in a range of another table, where more of them is needed than their ids."""
NO_WORD = ""
"""It is in no text, so its range is empty."""
CREATED = frozenset({"created after", "created before"})

KEYS = {SortKey.UPDATED: "jobs.updated_at", SortKey.ENDED: "jobs.completed_at", SortKey.PRIORITY: "jobs.priority"}
_INDEXES = {
    SortKey.CREATED: "jobs INDEXED BY jobs_by_owner WHERE jobs.owner = :owner",
    SortKey.UPDATED: "jobs INDEXED BY jobs_by_update WHERE jobs.owner = :owner",
    SortKey.ENDED: "jobs INDEXED BY jobs_by_end WHERE jobs.owner = :owner AND jobs.completed_at IS NOT NULL",
    SortKey.PRIORITY: "jobs INDEXED BY jobs_by_priority WHERE jobs.owner = :owner",
}


class Walk(NamedTuple):
    """A way to find jobs of one owner: ranges of an index, and which of the filter's conditions they fulfil."""

    ranges: Sequence[str]
    """What follows `FROM`, conditions included."""
    fulfils: frozenset[str]
    id: str = "jobs.id"
    """The column with the id that the index holds; with `+`, the index is not read by it (optoverview.html, 2.3)."""
    repeats: bool = False
    """A job can be in several of the ranges."""


class Wanted(NamedTuple):
    """A list: its filter as conditions, with their values, and its order."""

    conditions: dict[str, str]
    parameters: Parameters
    order: Order

    @classmethod
    def of(cls, filter: JobFilter, order: Order) -> "Wanted":
        found, parameters = conditions(filter)
        for column, values in (("status", filter.statuses), ("type", filter.types)):
            parameters |= {f"{column}{number}": value for number, value in enumerate(sorted(values)[:ALTERNATIVES])}
        if order.key is SortKey.ENDED:
            found["ended"] = "jobs.completed_at IS NOT NULL"
        return cls(found, parameters, order)

    @property
    def key(self) -> str | None:
        """The column that the list is sorted by; `None` if that is the id."""
        return KEYS.get(self.order.key)

    def ranges(self, walk: Walk, *, with_jobs: bool) -> list[str]:
        """The ranges of a way to find jobs."""
        join = f" CROSS JOIN jobs ON jobs.id = {walk.id}" if with_jobs else ""
        return [each.replace(JOBS, join) for each in walk.ranges]

    def beside(self, walk: Walk) -> str:
        """The conditions that a way to find jobs leaves open, as SQL."""
        return "".join(
            f" AND {condition.replace(ID, walk.id)}"
            for name, condition in self.conditions.items()
            if name not in walk.fulfils
        )


def of_order(wanted: Wanted) -> Walk:
    """By the index of the list's order: all jobs that the owner has, in that order."""
    source, fulfils = _INDEXES[wanted.order.key], frozenset({"ended"})
    if wanted.order.key is SortKey.UPDATED and "updated after" in wanted.conditions:
        return Walk((f"{source} AND {wanted.conditions['updated after']}",), fulfils | {"updated after"})
    return Walk((source,), fulfils)


def of_ids(wanted: Wanted) -> Walk:
    """Certain jobs: by their ids, whatever else is asked of them."""
    source = f"{_INDEXES[SortKey.CREATED]} AND {wanted.conditions['id']}"
    return Walk((source,), frozenset({"id"}), id="+jobs.id")


def of_filter(filter: JobFilter) -> list[Walk]:
    """By an index of one of the conditions, those that leave few jobs as a rule first. In the order of creation."""
    found: list[Walk] = []
    for number in range(len(filter.metadata)):
        source = (
            f"job_metadata AS had{JOBS}"
            f" WHERE had.owner = :owner AND had.name = :name{number} AND had.value = :value{number}"
        )
        found.append(Walk((source,), frozenset({f"metadata {number}"}), id="had.job_id"))
    if filter.label is not None:
        source = "jobs INDEXED BY jobs_by_label WHERE jobs.owner = :owner AND jobs.label = :label"
        found.append(Walk((source,), frozenset({"label"})))
    for column, values in (("type", filter.types), ("status", filter.statuses)):
        if 0 < len(values) <= ALTERNATIVES:
            source = f"jobs INDEXED BY jobs_by_{column} WHERE jobs.owner = :owner AND jobs.{column} = :{column}"
            found.append(Walk([f"{source}{number}" for number in range(len(values))], frozenset({column})))
    return found


def of_words(wanted: Wanted, words: Mapping[str, Sequence[str]]) -> tuple[list[Walk], Wanted]:
    """By the index of words: of each term all words that fit, unless there are many; and the values that this takes.

    `words`: those that fit each term, in the order of the terms.
    """
    found: list[Walk] = []
    parameters: Parameters = {}
    for number, fitting in enumerate(words.values()):
        if len(fitting) > ALTERNATIVES:
            continue
        named = {f"word{number}_{place}": word for place, word in enumerate(fitting or [NO_WORD])}
        source = f"job_words AS said{JOBS} WHERE said.owner = :owner AND said.word = :"
        fulfils = frozenset({f"term {number}"})
        found.append(Walk([source + name for name in named], fulfils, id="said.job_id", repeats=len(named) > 1))
        parameters |= named
    return found, wanted._replace(parameters=wanted.parameters | parameters)


def of_times(wanted: Wanted) -> list[Walk]:
    """By when they were created or updated. In no order but their own."""
    found: list[Walk] = []
    if created := CREATED & wanted.conditions.keys():
        within = "".join(f" AND {wanted.conditions[name].replace(ID, 'jobs.id')}" for name in sorted(created))
        found.append(Walk((_INDEXES[SortKey.CREATED] + within,), frozenset(created)))
    if (by_update := of_update(wanted)) is not None:
        found.append(by_update)
    return found


def of_update(wanted: Wanted) -> Walk | None:
    """By when they were updated, if that is asked for. In no order but its own."""
    if "updated after" not in wanted.conditions:
        return None
    source = f"{_INDEXES[SortKey.UPDATED]} AND {wanted.conditions['updated after']}"
    return Walk((source,), frozenset({"updated after"}))
