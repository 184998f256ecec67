"""A filter as SQL: constant text, with all values as parameters."""

import json

from ....domain.filters import JobFilter
from ....domain.ids import first_id_at_ms
from ....domain.instants import to_ms
from ..rows import Parameters

LABEL, LAST_MESSAGE = "CAST(jobs.label AS BLOB)", "CAST(iif(jobs.completed_at IS NULL, NULL, jobs.message) AS BLOB)"
"""The texts in which words are searched for, as bytes: damaged ones may not be UTF-8."""
ID = "{id}"
"""Stands for the column with the id, which each way to find jobs names."""


def conditions(filter: JobFilter) -> tuple[dict[str, str], Parameters]:
    """The conditions, by names that say what they are about, and the values that they take."""
    found: dict[str, str] = {}
    parameters: Parameters = {}
    for column, values in (("status", filter.statuses), ("type", filter.types), ("id", filter.ids)):
        if values:
            found[column] = f"jobs.{column} IN (SELECT value FROM json_each(:{column}_in))"  # noqa: S608 - constants
            parameters[f"{column}_in"] = json.dumps(sorted(values))
    if filter.label is not None:
        found["label"] = "jobs.label = :label"
        parameters["label"] = filter.label
    for number, (name, value) in enumerate(sorted(filter.metadata)):
        found[f"metadata {number}"] = (
            "EXISTS (SELECT 1 FROM job_metadata AS had WHERE had.owner = jobs.owner"  # noqa: S608 - constants
            f" AND had.name = :name{number} AND had.value = :value{number} AND had.job_id = jobs.id)"
        )
        parameters |= {f"name{number}": name, f"value{number}": value}
    if filter.created_after is not None:  # ids carry their creation time
        found["created after"] = f"{ID} >= :first_id"
        parameters["first_id"] = first_id_at_ms(to_ms(filter.created_after) + 1)
    if filter.created_before is not None:
        before = filter.created_before
        found["created before"] = f"{ID} < :first_id_after"
        parameters["first_id_after"] = first_id_at_ms(to_ms(before) + bool(before.microsecond % 1000))
    if filter.updated_after is not None:
        found["updated after"] = "jobs.updated_at > :updated_after"
        parameters["updated_after"] = to_ms(filter.updated_after)
    for number, term in enumerate(sorted(filter.terms)):
        found[f"term {number}"] = _of_term(number, term)
        parameters[f"term{number}"] = term.removesuffix("*")
    return found, parameters


def _of_term(number: int, term: str) -> str:
    if term.endswith("*"):  # in the index, all words that begin so would be read, whichever job has them
        return f"begins_word({LABEL}, {LAST_MESSAGE}, :term{number})"
    return (
        "EXISTS (SELECT 1 FROM job_words AS written WHERE written.owner = jobs.owner"  # noqa: S608 - constants
        f" AND written.word = :term{number} AND written.job_id = jobs.id)"
    )
