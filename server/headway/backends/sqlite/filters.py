"""A `JobFilter` as SQL."""

import json

from ...domain.filters import JobFilter
from ...domain.ids import first_id_at_ms
from ...domain.instants import to_ms
from .rows import Parameters


def conditions(filter: JobFilter) -> tuple[str, Parameters]:
    """The filter as conditions: constant text, the values as parameters."""
    conditions: list[str] = []
    parameters: Parameters = {}
    for column, values in (("status", filter.statuses), ("type", filter.types), ("id", filter.ids)):
        if values:
            conditions.append(f"AND {column} IN (SELECT value FROM json_each(:{column}_in))")  # noqa: S608 - constants
            parameters[f"{column}_in"] = json.dumps(sorted(values))
    if filter.label is not None:
        conditions.append("AND label = :label")
        parameters["label"] = filter.label
    if filter.created_after is not None:  # ids carry their creation time, so the list's own index serves
        conditions.append("AND id >= :first_id")
        parameters["first_id"] = first_id_at_ms(to_ms(filter.created_after) + 1)
    if filter.created_before is not None:
        before = filter.created_before
        rounded_up = to_ms(before) + bool(before.microsecond % 1000)
        conditions.append("AND id < :end_id")
        parameters["end_id"] = first_id_at_ms(rounded_up)
    return " ".join(conditions), parameters
