"""Query parameters, validated by a model."""

from functools import lru_cache
from typing import Any, TypeVar, cast
from urllib.parse import unquote_to_bytes

from aiohttp import web
from pydantic import BaseModel, ValidationError

from ..identity.gate import takes_ticket
from ..identity.tickets import TICKET
from ..problems import Problem
from .strict_json import pointer_token

Model = TypeVar("Model", bound=BaseModel)


class NoQuery(BaseModel, extra="forbid"):
    """No query parameters."""


class LastEventQuery(NoQuery):
    """The event that the client has already, for those who cannot set the header `Last-Event-ID`."""

    lastEventId: str | None = None  # noqa: N815 - the parameter's name


def query(request: web.Request, model: type[Model]) -> Model:
    """The query parameters as `model`; a parameter that is unknown or given twice is refused."""
    if not request.rel_url.raw_query_string:
        return cast("Model", _without_parameters(model))
    try:
        unquote_to_bytes(request.rel_url.raw_query_string).decode("utf-8")
    except UnicodeDecodeError:  # yarl would put replacement characters there
        raise Problem("malformed-request", "The query is not UTF-8.") from None
    repeated = [key for key in request.query if len(request.query.getall(key)) > 1]
    if repeated:
        raise Problem("validation-failed", errors=[(f"/{repeated[0]}", "is given more than once")])
    parameters = dict(request.query)
    if TICKET in parameters and takes_ticket(request):  # it was for the gate
        del parameters[TICKET]
    return validate(model, parameters)


@lru_cache
def _without_parameters(model: type[BaseModel]) -> BaseModel:
    return model()


def validate(model: type[Model], fields: Any, *, strict: bool | None = None) -> Model:
    """`fields` as `model`; `strict` overrules what the model says. Raises `Problem` with a pointer for each error."""
    try:
        return model.model_validate(fields, strict=strict)
    except ValidationError as error:
        raise invalid(error) from None


def invalid(error: ValidationError, prefix: str = "") -> Problem:
    """Pydantic's errors as a problem. The offending values are left out: they may be secrets."""
    errors = [
        (prefix + "".join(f"/{pointer_token(part)}" for part in item["loc"]), item["msg"].removeprefix("Value error, "))
        for item in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    return Problem("validation-failed", errors[0][1], errors=errors)
