"""What a job returns, as the caller wants it."""

import json
import typing
from collections.abc import Callable
from typing import Any

UNTYPED: Any = object()
"""JSON as it comes."""


def parse_result(content: bytes, model: Any) -> Any:
    """The result as `model`, any type that pydantic knows; or as plain JSON for `UNTYPED`.

    Raises `pydantic.ValidationError`.
    """
    if model is UNTYPED or model is Any:
        return json.loads(content)
    if hasattr(model, "model_validate_json"):
        return model.model_validate_json(content)
    from pydantic import TypeAdapter  # noqa: PLC0415 - callers without models need not wait for it

    return TypeAdapter(model).validate_json(content)


def returned_by(job_type: str | Callable[..., Any]) -> Any:
    """What a function is annotated to return; `UNTYPED` for the name of a type."""
    if isinstance(job_type, str):
        return UNTYPED
    try:
        return typing.get_type_hints(job_type, include_extras=True).get("return", UNTYPED)
    except (NameError, TypeError):
        return UNTYPED
