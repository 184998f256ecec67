"""Validation against pydantic models, with errors that name their place by a JSON pointer (RFC 6901)."""

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError, to_json

from .errors import InvalidError

Model = TypeVar("Model", bound=BaseModel)

MAX_TOLD = 50
MAX_LISTED = 1_000
"""pydantic lists all of its errors or none, at over a microsecond each: 80,000 unknown fields took it 0.1 s."""
MAX_CHARS = 500
"""Of a pointer, which contains the names of fields, and of what is wrong."""


def pointer_token(part: int | str) -> str:
    """One token of a JSON pointer (RFC 6901, 3)."""
    return str(part).replace("~", "~0").replace("/", "~1")


def validate(model: type[Model], fields: Any, *, strict: bool | None = None, by_name: bool | None = None) -> Model:
    """`fields` as `model`. Raises `InvalidError`.

    `strict` overrides the model's own setting; with `by_name` fields have their Python names, not clients'.
    """
    try:
        return model.model_validate(fields, strict=strict, by_name=by_name, by_alias=not by_name)
    except ValidationError as error:
        raise invalid(error) from None


def invalid(error: ValidationError, pointer: str = "") -> InvalidError:
    """Pydantic's errors, below `pointer`; of many, some and their number. The offending values are left out: they may
    be secrets.
    """
    count = error.error_count()
    if count > MAX_LISTED:
        return too_many(count, "errors", pointer)
    listed = error.errors(include_url=False, include_context=False, include_input=False)[:MAX_TOLD]
    told = [
        (_cut(pointer + _pointer_to(item["loc"])), _cut(item["msg"].removeprefix("Value error, "))) for item in listed
    ]
    left = count - len(told)
    return InvalidError(told, f"{told[0][1]} (and {left:,} more errors)" if left else None)


def too_many(count: int, what: str, pointer: str) -> InvalidError:
    """The error for more of `what` than `MAX_LISTED`."""
    return InvalidError([(pointer, f"has {count:,} {what}, which are too many to list")])


def _pointer_to(place: tuple[int | str, ...]) -> str:
    return "".join(f"/{pointer_token(part)}" for part in place)


def _cut(text: str) -> str:
    return text if len(text) <= MAX_CHARS else f"{text[: MAX_CHARS - 1]}…"


def as_json_object(value: Mapping[str, Any] | BaseModel) -> dict[str, Any]:
    """A mapping or a model as the JSON object that a client would have sent. Raises `InvalidError` if there is none."""
    try:
        made = json.loads(to_json(value), parse_constant=_refuse)
    except (PydanticSerializationError, ValueError) as error:
        raise InvalidError([("", f"is not JSON: {error}")]) from None
    if not isinstance(made, dict):
        raise InvalidError([("", "must be an object")])
    return made


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a JSON number")
