"""Query parameters, validated by a model."""

from functools import lru_cache
from typing import cast
from urllib.parse import unquote_to_bytes

from aiohttp import web
from pydantic import BaseModel

from ...validation import Model, validate
from ..identity.gate import takes_ticket
from ..identity.tickets import TICKET
from ..problems import Problem


class NoQuery(BaseModel, extra="forbid"):
    """No query parameters."""


class LastEventQuery(NoQuery):
    """The last event that the client has, for clients that cannot set the header `Last-Event-ID`."""

    lastEventId: str | None = None  # noqa: N815 - the parameter's name


def query(request: web.Request, model: type[Model]) -> Model:
    """The query parameters as `model`. Raises `InvalidError` for a parameter that is unknown or given twice."""
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
    if TICKET in parameters and takes_ticket(request):  # the gate has read it
        del parameters[TICKET]
    return validate(model, parameters)


@lru_cache
def _without_parameters(model: type[BaseModel]) -> BaseModel:
    return model()
