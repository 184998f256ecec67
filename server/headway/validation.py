"""Validation against pydantic models, with errors that name their place by a JSON pointer (RFC 6901)."""

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError, to_json

from .errors import InvalidError

Model = TypeVar("Model", bound=BaseModel)


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
    """Pydantic's errors, below `pointer`. The offending values are left out: they may be secrets."""
    return InvalidError(
        [
            (
                pointer + "".join(f"/{pointer_token(part)}" for part in item["loc"]),
                item["msg"].removeprefix("Value error, "),
            )
            for item in error.errors(include_url=False, include_context=False, include_input=False)
        ]
    )


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
