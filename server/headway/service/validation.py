"""Validation against pydantic models, with errors that name their place by a JSON pointer (RFC 6901)."""

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ..errors import InvalidError

Model = TypeVar("Model", bound=BaseModel)


def pointer_token(part: int | str) -> str:
    """One token of a JSON pointer (RFC 6901, 3)."""
    return str(part).replace("~", "~0").replace("/", "~1")


def validate(model: type[Model], fields: Any, *, strict: bool | None = None) -> Model:
    """`fields` as `model`; `strict` overrides the model's own setting. Raises `InvalidError`."""
    try:
        return model.model_validate(fields, strict=strict)
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
