"""Job types as `@job` declares them, and the registry of those that a server serves."""

import json
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType, NoneType
from typing import Any, Literal, Self

from pydantic import BaseModel, TypeAdapter
from pydantic_core import from_json, to_json

from ..limits import INTEGER_DIGITS
from ..tracebacks import place_of
from .attempt_limits import AttemptLimits
from .dependencies import Factory, made_before_fork
from .resources import Resource
from .uploads import UPLOADED, UPLOADS, Upload

_NONE: Mapping[str, Any] = MappingProxyType({})
_SCALARS = (NoneType, bool, int, str)
_DIGITS = b"0123456789"


def always() -> None:
    """Why a type that can always run cannot run: there is no reason."""


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
    uploads: Mapping[str, bool] = field(default_factory=dict)
    """The input's `Upload` fields, and whether each is required."""
    dependencies: Mapping[str, Factory] = field(default_factory=dict)
    """What makes the handler's other arguments, by parameter. Clients see nothing of it."""
    positional: tuple[str, ...] = ()
    """The handler's parameters that are not keyword-only."""
    max_attempts: int = 1
    no_retry: tuple[type[BaseException], ...] = ()
    timeout_s: float | None = None
    stall_timeout_s: float | None = None
    on_interrupt: Literal["requeue", "fail"] = "requeue"
    max_recoveries: int | None = None
    concurrency: int | None = None
    max_queued: int | None = None
    retain_s: float | None = None
    keep_process: bool = False
    max_jobs_per_process: int | None = None
    max_mib_per_process: float | None = None
    limits: AttemptLimits = field(default_factory=AttemptLimits)
    """Of one attempt."""
    resource: Resource | None = None
    on_complete: Literal["redirect"] | None = None
    webhook_url: str | None = None
    unavailable: Callable[[], str | None] = always
    lease_s: float | None = None
    """How long a worker elsewhere may be silent before its attempt is lost; `None`: the type has a handler here."""
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
        # Not by `__pydantic_validator__`, a microsecond faster: the model of a type that a file describes overrides
        # this method, and validates by the file's schema.
        return self.input_type.model_validate_json(input_json, strict=True, extra=extra, context={UPLOADS: uploads})

    @property
    def is_remote(self) -> bool:
        """Whether its jobs are done by workers elsewhere, over HTTP. Its handler only declares what goes in and out."""
        return self.lease_s is not None

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
    def only_upload(self) -> str | None:
        """The input's one file field, if it needs nothing else: then a body can be the file itself."""
        if len(self.uploads) != 1 or self.input_type is None:
            return None
        required = set(self.input_object.get("required", ()))  # a model's fields, or what a JSON file says
        (only,) = self.uploads
        return only if required <= {only} else None

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
        check_integers(encoded)
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

    can_change = False
    """Whether it is a `ChangingRegistry`."""

    def __init__(self, job_types: Iterable[JobType]) -> None:
        self._by_name = {job_type.name: job_type for job_type in job_types}

    def when_changed(self, call: Callable[[], None]) -> None:
        """Have `call` called whenever there are other types: never, except in a `ChangingRegistry`."""

    def beside(self, job_type: JobType) -> "Registry":
        """These types, now and later, and one more."""
        return Registry([*self, job_type])

    def with_defaults(self, limits: AttemptLimits) -> Self:
        """The same types, with these limits of an attempt where a type declares none."""
        return type(self)(replace(each, limits=each.limits.or_else(limits, is_async=each.is_async)) for each in self)

    def get(self, name: str) -> JobType | None:
        return self._by_name.get(name)

    def __iter__(self) -> Iterator[JobType]:
        return iter(self._by_name.values())


class ChangingRegistry(Registry):
    """The job types of a server that is being developed with: they are exchanged while it runs.

    Code that computes something from the types registers a function, which is called at each change. The functions are
    called in the order in which they were registered, before anything else runs in the event loop.
    """

    can_change = True

    def __init__(self, job_types: Iterable[JobType]) -> None:
        super().__init__(job_types)
        self.version = 1
        """Grows whenever the types or the failure change."""
        self.failure: LoadFailure | None = None
        """Why the files as they are now cannot be loaded, while that is so. The types are then those of before."""
        self._calls: list[Callable[[], None]] = []

    def when_changed(self, call: Callable[[], None]) -> None:
        self._calls.append(call)

    def beside(self, job_type: JobType) -> "Registry":
        both = ChangingRegistry([*self, job_type])
        self.when_changed(lambda: both.change([*self, job_type]))
        return both

    def change(self, job_types: Iterable[JobType]) -> None:
        """Serve these types, and no others, from now on."""
        self._by_name = {job_type.name: job_type for job_type in job_types}
        self.failure = None
        self.version += 1
        for call in self._calls:
            call()

    def fail(self, failure: "LoadFailure") -> None:
        """The files cannot be loaded as they are now: the types stay as they are."""
        self.failure = failure
        self.version += 1


@dataclass(frozen=True, slots=True)
class LoadFailure:
    """Why modules could not be loaded: a line that names the place, and the traceback, which may be empty."""

    reason: str
    traceback: str


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


def check_integers(encoded: bytes) -> None:
    """Raise `ValueError` for an integer with so many digits that clients' JSON parsers refuse it.

    A row of that many digits covers one of the places that are looked at, wherever it begins; it may also be in a text.
    """
    step = INTEGER_DIGITS + 1
    for at in range(0, len(encoded) if len(encoded) > INTEGER_DIGITS else 0, step):
        before, after = encoded[max(0, at - step) : at], encoded[at : at + step]
        digits = len(before) - len(before.rstrip(_DIGITS)) + len(after) - len(after.lstrip(_DIGITS))
        if digits > INTEGER_DIGITS:
            json.loads(encoded, parse_int=_check_integer)
            return


def _check_integer(digits: str) -> None:
    if len(digits.removeprefix("-")) > INTEGER_DIGITS:
        raise ValueError(f"an integer has over {INTEGER_DIGITS:,} digits, which JSON parsers refuse: return it as text")


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
