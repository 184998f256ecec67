"""Errors of validation: where each one is, and how many of them are told."""

import pytest
from headway.errors import InvalidError
from headway.validation import MAX_CHARS, MAX_LISTED, MAX_TOLD, validate
from pydantic import BaseModel


class Numbers(BaseModel, extra="forbid", strict=True):
    numbers: list[int] = []


def refused(fields: object) -> InvalidError:
    with pytest.raises(InvalidError) as raised:
        validate(Numbers, fields)
    return raised.value


@pytest.mark.parametrize("count", [1, 2, MAX_TOLD])
def test_a_few_errors_are_all_told(count: int) -> None:
    error = refused({"numbers": [1, *["x"] * count]})
    assert [pointer for pointer, _ in error.errors] == [f"/numbers/{place + 1}" for place in range(count)]
    assert str(error) == "Input should be a valid integer"


def test_of_many_errors_some_are_told_and_the_rest_are_counted() -> None:
    error = refused({f"unknown{number}": 1 for number in range(MAX_LISTED)})
    assert [pointer for pointer, _ in error.errors] == [f"/unknown{number}" for number in range(MAX_TOLD)]
    assert str(error) == "Extra inputs are not permitted (and 950 more errors)"


def test_very_many_errors_are_only_counted() -> None:
    error = refused({f"unknown{number}": 1 for number in range(80_000)})
    assert error.errors == [("", "has 80,000 errors, which are too many to list")]


def test_a_long_name_is_cut() -> None:
    ((pointer, _),) = refused({"x" * 100_000: 1}).errors
    assert len(pointer) == MAX_CHARS
