"""Job types as `@job` declares them, and the registry of those that a server serves."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType, NoneType
from typing import Any, Literal, Self

from pydantic import BaseModel, TypeAdapter
from pydantic_core import from_json, to_json

from ..tracebacks import place_of
from .attempt_limits import AttemptLimits
from .dependencies import Factory, made_before_fork
from .resources import Resource
from .uploads import UPLOADED, UPLOADS, Upload

_NONE: Mapping[str, Any] = MappingProxyType({})
_SCALARS = (NoneType, bool, int, str)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobType:
    """A declared job type: its handler, its input and output, its limits. Durations are seconds."""

    name: str
    title: str
    description: str
    handler: Callable[..., Any]
    is_async: bool
    input_type: type[BaseModel] | None
    output: TypeAdapter[Any]
    uploads: Mapping[str, bool]
    """The input's `Upload` fields, and whether each is required."""
    dependencies: Mapping[str, Factory]
    """What makes the handler's other arguments, by parameter. Clients see nothing of it."""
    positional: tuple[str, ...]
    """The handler's parameters that are not keyword-only."""
    max_attempts: int
    no_retry: tuple[type[BaseException], ...]
    timeout_s: float | None
    stall_timeout_s: float | None
    on_interrupt: Literal["requeue", "fail"]
    max_recoveries: int | None
    concurrency: int | None
    max_queued: int | None
    retain_s: float | None
    keep_process: bool
    max_jobs_per_process: int | None
    max_mib_per_process: float | None
    limits: AttemptLimits
    """Of one attempt."""
    resource: Resource | None
    on_complete: Literal["redirect"] | None
    webhook_url: str | None
    unavailable: Callable[[], str | None]
    source: str
    """The module that a child process loads to find the handler: its name or its path."""

    def parse_input(self, input_json: str | bytes, uploads: Mapping[str, Upload]) -> BaseModel | None:
        """The validated input. Raises `pydantic.ValidationError`, also for unknown fields."""
        # Strict JSON mode matches the published schema: "5" is not an integer, "2026-03-31" is a date.
        if self.input_type is None:
            _NoInput.model_validate_json(input_json)
            return None
        if uploads:
            input_json = to_json({**from_json(input_json), **dict.fromkeys(uploads, UPLOADED)})
        extra: Literal["forbid"] | None = "forbid" if self._closed else None
        return self.input_type.model_validate_json(input_json, strict=True, extra=extra, context={UPLOADS: uploads})

    @property
    def place(self) -> str:
        """Where its handler is defined, as `file:line`."""
        return place_of(self.handler) or self.source

    @property
    def before_fork(self) -> tuple[Factory, ...]:
        """What is made before its processes are forked, in this order."""
        return made_before_fork(self.dependencies)

    @property
    def recovery_limit(self) -> int | None:
        """How many crashes of the server a job survives; `None`: the server's setting."""
        return 0 if self.on_interrupt == "fail" else self.max_recoveries

    @property
    def _closed(self) -> bool:
        """Whether unknown fields are rejected, in every part of the input. A model can opt out with `extra`."""
        return self.input_type is None or self.input_type.model_config.get("extra") not in ("allow", "ignore")

    @property
    def input_schema(self) -> dict[str, Any]:
        """JSON Schema of the input; closed if unknown fields are rejected."""
        schema = (self.input_type or _NoInput).model_json_schema()
        return _closed(schema) if self._closed else schema

    @property
    def input_object(self) -> dict[str, Any]:
        """The part of `input_schema` that describes the input itself: a recursive model's is only a reference to it."""
        schema = self.input_schema
        whole: dict[str, Any] = schema["$defs"][schema["$ref"].rsplit("/", 1)[1]] if "$ref" in schema else schema
        return whole

    @property
    def input_fields(self) -> frozenset[str]:
        """The names of the input's fields, as clients write them."""
        return frozenset(self.input_object.get("properties", ()))

    @property
    def output_schema(self) -> dict[str, Any]:
        """JSON Schema of the result."""
        return self.output.json_schema(mode="serialization", by_alias=True)

    def encode_output(self, value: Any) -> str:
        """The return value as JSON text.

        Raises `pydantic.ValidationError` if it is not what was declared, another `ValueError` if JSON cannot hold it.
        """
        value = _read_once(value)
        validated = self.output.validate_python(value)
        encoded = self.output.dump_json(validated, by_alias=True)
        if validated is None:  # nearly as often as not
            return encoded.decode()
        if b"null" in encoded or b"NaN" in encoded or b"Infinity" in encoded:  # what pydantic writes for them
            # What was declared as an iterator has been used up, so it is made again.
            check_finite(self.output.dump_python(self.output.validate_python(value)))
        return encoded.decode()

    def call(self, context: Any, parsed: BaseModel | None, dependencies: Mapping[str, Any] = _NONE) -> Any:
        """Call the handler: its result, or for an `async def` the coroutine. `dependencies` are by parameter."""
        given, named = iter((context, parsed)), dict(dependencies)
        positional = [named.pop(name) if name in named else next(given) for name in self.positional]
        return self.handler(*positional, **named)


class _NoInput(BaseModel, extra="forbid", title="No input"):
    """An empty object: the handler takes no input."""


class Registry:
    """The job types that this server serves, by name, in the order of their declaration."""

    def __init__(self, job_types: Iterable[JobType]) -> None:
        self._by_name = {job_type.name: job_type for job_type in job_types}

    def with_defaults(self, limits: AttemptLimits) -> Self:
        """The same types, with these limits of an attempt where a type declares none."""
        return type(self)(replace(each, limits=each.limits.or_else(limits, is_async=each.is_async)) for each in self)

    def get(self, name: str) -> JobType | None:
        return self._by_name.get(name)

    def __iter__(self) -> Iterator[JobType]:
        return iter(self._by_name.values())


def _read_once(value: Any) -> Any:
    """A result without iterators, which could be written but not checked: a generator, or one in a dictionary."""
    if hasattr(type(value), "__next__"):
        return list(value)
    if type(value) is dict:
        return {name: list(part) if hasattr(type(part), "__next__") else part for name, part in value.items()}
    return value


def check_finite(value: Any) -> None:
    """Raise `ValueError` for a number in `value`, however deep, that JSON does not have: NaN or an infinity."""
    parts = [value]
    while parts:
        part = parts.pop()
        if isinstance(part, float):
            if not math.isfinite(part):
                raise ValueError(f"JSON has no number like {part}")
        elif isinstance(part, dict):
            parts.extend(part.values())
        elif isinstance(part, list | tuple | set | frozenset | deque) or hasattr(type(part), "__next__"):
            parts.extend(part)
        # The first time that a process asks an abstract class about a type, it goes through all subclasses. In a forked
        # process that copies a megabyte: a fifth of what an empty job costs there.
        elif not isinstance(part, _SCALARS) and isinstance(part, Mapping):
            parts.extend(part.values())


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with `additionalProperties: false` wherever an object has named properties."""
    closed: dict[str, Any] = {}
    for key, value in schema.items():
        if key in ("properties", "$defs"):
            closed[key] = {name: _closed(part) for name, part in value.items()}
        elif isinstance(value, dict) and key not in ("default", "const", "discriminator"):
            closed[key] = _closed(value)
        elif isinstance(value, list) and key in ("anyOf", "oneOf", "allOf", "prefixItems"):
            closed[key] = [_closed(part) for part in value]
        else:
            closed[key] = value
    if closed.get("type") == "object" and "properties" in closed:
        closed["additionalProperties"] = False
    return closed
