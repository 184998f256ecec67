"""A job type's own REST resource, as its author declares it: its path, and the functions that read it."""

import inspect
import re
import types
import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any

from pydantic import BaseModel, PydanticUserError, TypeAdapter

from ..errors import JobTypeError

_PATH = re.compile(r"(/[A-Za-z0-9][A-Za-z0-9._~-]*)+")
_MAX_PATH_CHARS = 200


@dataclass(frozen=True, slots=True)
class ResourceContext:
    """What a `get` or `list` function can use. The server makes one for each request."""

    caller: str
    """The owner who asks, which is the `ctx.owner` of their jobs; `*` for an admin, who sees those of all owners."""
    _data_dir: Path

    @property
    def data_dir(self) -> Path:
        """The directory shared by all jobs of the type: their `ctx.data_dir`."""
        self._data_dir.mkdir(parents=True, exist_ok=True)
        return self._data_dir


@dataclass(frozen=True, slots=True)
class Reader:
    """A `get` or `list` function: its parameter besides the context, and its return value."""

    function: Callable[..., Any]
    is_async: bool
    query_type: type[BaseModel] | None
    """The query parameters that a `list` function takes."""
    output: TypeAdapter[Any]
    optional: bool
    """Whether it may return `None` because there is no such resource, as `get` may."""

    @property
    def output_schema(self) -> dict[str, Any]:
        """JSON Schema of the return value."""
        return self.output.json_schema(mode="serialization", by_alias=True)

    def encode(self, value: Any) -> bytes:
        """The return value as JSON. Raises `pydantic.ValidationError` if it is not what was declared."""
        if value is None and self.optional:
            return b"null"
        return self.output.dump_json(self.output.validate_python(value), by_alias=True)


@dataclass(frozen=True, slots=True)
class Readers:
    """The author's functions: one reads a resource, the other lists them."""

    get: Reader
    list: Reader


@dataclass(frozen=True, slots=True)
class Resource:
    """A path for the jobs of a type. Without functions of its own it shows the jobs' results."""

    path: str
    readers: Readers | None


def declared_resource(
    name: str, path: str | None, get: Callable[..., Any] | None, list: Callable[..., Any] | None
) -> Resource | None:
    """The resource that `@job(name, path=, get=, list=)` declares. Raises `JobTypeError` if it cannot work."""
    if path is None:
        if get is not None or list is not None:
            raise JobTypeError(f"{name}: get and list need a path")
        return None
    _check_path(name, path)
    if get is None and list is None:
        return Resource(path, None)
    if get is None or list is None:
        raise JobTypeError(f"{name}: get and list come together: give both or neither")
    return Resource(path, Readers(_get_reader(name, get), _list_reader(name, list)))


def check_apart(name: str, path: str, others: Iterable[tuple[str, str]]) -> None:
    """Raise `JobTypeError` if `path` overlaps another type's: one URL would mean two things."""
    for other, other_path in others:
        if other != name and overlap(path, other_path):
            raise JobTypeError(f"{name}: the path {path} overlaps {other_path} of the job type {other!r}")


def output_adapter(name: str, returns: Any) -> TypeAdapter[Any]:
    """The adapter for values of the annotation `returns`. Raises `JobTypeError` if JSON cannot hold them."""
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(returns)
        adapter.json_schema(mode="serialization")
    except PydanticUserError as error:
        raise JobTypeError(f"{name}: the return type cannot be written as JSON: {error}") from error
    return adapter


def _check_path(name: str, path: str) -> None:
    if not _PATH.fullmatch(path) or len(path) > _MAX_PATH_CHARS:
        raise JobTypeError(
            f"{name}: {path!r} cannot be a path: write it like /api/reports, in letters, digits and . _ ~ -, "
            "without a parameter and without a slash at the end"
        )


def overlap(one: str, other: str) -> bool:
    """Whether two paths are the same, or one lies within the other, where an id stands."""
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")


def _get_reader(name: str, function: Callable[..., Any]) -> Reader:
    """`get(ctx, id)`: the resource, or `None`, which is a 404."""
    parameters, hints = _signature(name, "get", function)
    if len(parameters) != 2:  # noqa: PLR2004 - ctx and id
        raise JobTypeError(f"{name}: get must take (ctx, id)")
    returns = _without_none(hints.get("return", Any))
    return Reader(function, inspect.iscoroutinefunction(function), None, output_adapter(name, returns), optional=True)


def _list_reader(name: str, function: Callable[..., Any]) -> Reader:
    """`list(ctx)`, or `list(ctx, query)` with a model of the query parameters."""
    parameters, hints = _signature(name, "list", function)
    if not 1 <= len(parameters) <= 2:  # noqa: PLR2004 - ctx, and maybe query
        raise JobTypeError(f"{name}: list must take (ctx) or (ctx, query)")
    query_type = _query_type(name, hints.get(parameters[1])) if parameters[1:] else None
    output = output_adapter(name, hints.get("return", Any))
    return Reader(function, inspect.iscoroutinefunction(function), query_type, output, optional=False)


def _signature(name: str, role: str, function: Callable[..., Any]) -> tuple[list[str], dict[str, Any]]:
    """A function's parameters and annotations."""
    if not inspect.isroutine(function) or inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        raise JobTypeError(f"{name}: {role} must be a function that returns what clients see")
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except (NameError, TypeError) as error:
        raise JobTypeError(f"{name}: an annotation of {role} cannot be resolved: {error}") from error
    parameters = inspect.signature(function).parameters
    if any(parameter.kind is not parameter.POSITIONAL_OR_KEYWORD for parameter in parameters.values()):
        raise JobTypeError(f"{name}: {role} can only have plain parameters")
    return list(parameters), hints


def _query_type(name: str, annotation: Any) -> type[BaseModel]:
    """The model of the query parameters, closed: unknown parameters are rejected."""
    if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        raise JobTypeError(f"{name}: annotate list's second parameter with a pydantic model of the query parameters")
    closed = {"model_config": {"extra": "forbid"}, "__doc__": annotation.__doc__, "__module__": annotation.__module__}
    return type(annotation.__name__, (annotation,), closed)


def _without_none(returns: Any) -> Any:
    if typing.get_origin(returns) not in (typing.Union, types.UnionType):
        return returns
    return reduce(or_, (choice for choice in typing.get_args(returns) if choice is not types.NoneType))
