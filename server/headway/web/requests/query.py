"""Query parameters, validated by a model."""

from functools import lru_cache
from types import UnionType
from typing import Any, Union, cast, get_args, get_origin
from urllib.parse import unquote_to_bytes

from aiohttp import web
from pydantic import BaseModel

from ...service.options import separated
from ...validation import Model, validate
from ..identity.gate import takes_ticket
from ..identity.tickets import TICKET
from ..problems import Problem
from .filters import METADATA, MetadataQuery


class NoQuery(BaseModel, extra="forbid"):
    """No query parameters."""


class LastEventQuery(NoQuery):
    """The last event that the client has, for clients that cannot set the header `Last-Event-ID`."""

    lastEventId: str | None = None  # noqa: N815 - the parameter's name


def query(request: web.Request, model: type[Model]) -> Model:
    """The query parameters as `model`. One that takes a list is repeated or separated by commas, or both.

    Raises `Problem` for another one that is repeated, and `InvalidError` for an unknown one.
    """
    if not request.rel_url.raw_query_string:
        return cast("Model", _without_parameters(model))
    try:
        unquote_to_bytes(request.rel_url.raw_query_string).decode("utf-8")
    except UnicodeDecodeError:  # yarl would put replacement characters there
        raise Problem("malformed-request", "The query is not UTF-8.") from None
    parameters: dict[str, Any] = {}
    metadata: dict[str, str] = {}
    for name, value in request.query.items():
        if name in _lists(model):
            parameters.setdefault(name, []).extend(separated(value))
        elif name.startswith(METADATA) and issubclass(model, MetadataQuery) and name not in metadata:
            metadata[name] = value
        elif name in parameters or name in metadata:
            raise Problem("validation-failed", errors=[(f"/{name}", "is given more than once")])
        else:
            parameters[name] = value
    if TICKET in parameters and takes_ticket(request):  # the gate has read it
        del parameters[TICKET]
    if metadata:
        parameters["metadata"] = {name.removeprefix(METADATA): value for name, value in metadata.items()}
    return validate(model, parameters)


@lru_cache
def _lists(model: type[BaseModel]) -> frozenset[str]:
    """The parameters that take several values, by the names that clients give them."""
    fields = model.model_fields.items()
    return frozenset(field.alias or name for name, field in fields if _is_list(field.annotation))


def _is_list(annotation: Any) -> bool:
    kind = get_origin(annotation) or annotation
    if kind in (Union, UnionType):
        return any(_is_list(part) for part in get_args(annotation))
    return kind in (list, set, frozenset, tuple)


@lru_cache
def _without_parameters(model: type[BaseModel]) -> BaseModel:
    return model()
