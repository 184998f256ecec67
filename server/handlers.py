"""The job author's side of the registry: `@job`, what a type declares, loading the author's modules."""

import importlib
import importlib.util
import inspect
import math
import re
import sys
import time
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler, PydanticUserError, RootModel, TypeAdapter
from pydantic_core import core_schema, from_json, to_json

from .errors import JobTypeError, SetupError
from .resource import Resource, check_apart, declared_resource, output_adapter

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_MAX_NAME_CHARS = 64
UPLOADS = "headway_uploads"
UPLOADED = "uploaded"
INPUT_PART = "input"
"""The multipart part that holds the input's other fields as JSON."""
AVAILABILITY_LASTS_S = 1.0
_RESERVED = frozenset({"progress", "stats"})  # GET /jobs/progress and /jobs/stats

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)

Handler = TypeVar("Handler", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that came with a submission: a field of the input model that is a multipart file part.

    `path` stands in the job's own directory and lives as long as the job. `filename` is what the client
    called it: text to show, never a path to open.
    """

    path: Path
    filename: str
    content_type: str
    size_bytes: int

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.json_or_python_schema(
            json_schema=core_schema.with_info_plain_validator_function(_uploaded),
            python_schema=core_schema.is_instance_schema(cls),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "string", "format": "binary"}


def _uploaded(value: Any, info: core_schema.ValidationInfo[Any]) -> Upload:
    """The file that came for this field: only the server puts one there, no JSON can name a path on this machine."""
    uploads: dict[str, Upload] = (info.context or {}).get(UPLOADS, {})
    if value != UPLOADED or info.field_name not in uploads:
        raise ValueError("must be a file part")
    return uploads[info.field_name]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobType:
    """What `@job` declared: the handler, its input and output, its limits. Durations are seconds."""

    name: str
    title: str
    description: str
    handler: Callable[..., Any]
    is_async: bool
    input_type: type[BaseModel] | None
    output: TypeAdapter[Any]
    uploads: Mapping[str, bool]
    """The input's `Upload` fields; the value says whether the file must be there."""
    max_attempts: int
    no_retry: tuple[type[BaseException], ...]
    timeout_s: float | None
    stall_timeout_s: float | None
    on_interrupt: Literal["requeue", "fail"]
    max_recoveries: int | None
    concurrency: int | None
    max_queued: int | None
    retain_s: float | None
    resource: Resource | None
    on_complete: Literal["redirect"] | None
    webhook_url: str | None
    unavailable: Callable[[], str | None]
    source: str
    """What the child process loads to find the handler: a module's name or a path."""

    def parse_input(self, input_json: str | bytes, uploads: Mapping[str, Upload]) -> BaseModel | None:
        """The validated input. Raises `pydantic.ValidationError`; unknown fields are refused."""
        # As JSON and strictly, which is what the published schema says: "5" is no integer, "2026-03-31" is a date.
        if self.input_type is None:
            _NoInput.model_validate_json(input_json)
            return None
        if uploads:
            input_json = to_json({**from_json(input_json), **dict.fromkeys(uploads, UPLOADED)})
        extra: Literal["forbid"] | None = "forbid" if self._closed else None
        return self.input_type.model_validate_json(input_json, strict=True, extra=extra, context={UPLOADS: uploads})

    @property
    def _closed(self) -> bool:
        """Whether unknown fields are refused, in every part of the input: unless its model says it takes them."""
        return self.input_type is None or self.input_type.model_config.get("extra") not in ("allow", "ignore")

    @property
    def input_schema(self) -> dict[str, Any]:
        """JSON Schema of the input; closed where unknown fields are refused."""
        schema = (self.input_type or _NoInput).model_json_schema()
        return _closed(schema) if self._closed else schema

    @property
    def output_schema(self) -> dict[str, Any]:
        """JSON Schema of the result."""
        return self.output.json_schema(mode="serialization", by_alias=True)

    def encode_output(self, value: Any) -> str:
        """The return value as JSON text. Raises `pydantic.ValidationError` if it is not what was declared."""
        validated = self.output.validate_python(value)
        return self.output.dump_json(validated, by_alias=True).decode()

    def call(self, context: Any, parsed: BaseModel | None) -> Any:
        """Call the handler: its result, or for an `async def` the coroutine."""
        return self.handler(context) if self.input_type is None else self.handler(context, parsed)


class _NoInput(BaseModel, extra="forbid", title="No input"):
    """An empty object: the handler takes no input."""


class Registry:
    """The job types that this server serves, by name, in the order of their declaration."""

    def __init__(self, job_types: Iterable[JobType]) -> None:
        self._by_name = {job_type.name: job_type for job_type in job_types}

    def get(self, name: str) -> JobType | None:
        return self._by_name.get(name)

    def __iter__(self) -> Iterator[JobType]:
        return iter(self._by_name.values())

    @classmethod
    def load(cls, sources: Iterable[str]) -> "Registry":
        """Import each module (a name or a path) and collect what they declare.

        Raises `SetupError` for a module that cannot be found or does not import, or that declares nothing.
        """
        found: dict[str, JobType] = {}
        for source in sources:
            declared = _load_source(source)
            if not declared:
                raise SetupError(f"{source} declares no job: decorate a function in it with @job(...)")
            found.update((job_type.name, job_type) for job_type in declared)
        return cls(found.values())


def job(  # noqa: PLR0913 - one keyword for each thing a type can say of itself
    name: str,
    *,
    title: str | None = None,
    description: str | None = None,
    max_attempts: int = 1,
    no_retry: tuple[type[BaseException], ...] = (),
    timeout_s: float | None = None,
    stall_timeout_s: float | None = None,
    on_interrupt: Literal["requeue", "fail"] = "requeue",
    max_recoveries: int | None = None,
    concurrency: int | None = None,
    max_queued: int | None = None,
    retain_s: float | None = None,
    path: str | None = None,
    get: Callable[..., Any] | None = None,
    list: Callable[..., Any] | None = None,
    on_complete: Literal["redirect"] | None = None,
    webhook_url: str | None = None,
    unavailable: Callable[[], str | None] | None = None,
) -> Callable[[Handler], Handler]:
    """Declare a function as the handler of the job type `name` (lower-case words joined by hyphens).

    `async def f(ctx: Context, input: Model)` runs in the server's event loop: for work that waits.
    `def f(ctx: BlockingContext, input: Model)` runs in a process of its own: for work that computes.
    `Model` is a pydantic model, or absent; the return annotation types the result.

    `title` and `description` (by default from the name and the docstring) are for people.

    - A run that raises is tried up to `max_attempts` times, but for the exceptions in `no_retry` and `JobFailed`.
    - It is stopped after `timeout_s` seconds, or after `stall_timeout_s` seconds without any sign of progress
      (a report, a log line, a checkpoint).
    - When the server stops or crashes meanwhile, the job is started again, after crashes at most
      `max_recoveries` times (by default the server's setting); with `on_interrupt="fail"` it has failed.
    - At most `concurrency` jobs of the type run at once, and at most `max_queued` wait.
    - A finished job is kept for `retain_s` seconds.
    - `path` makes the type a REST resource too: `POST path` submits, `GET path/{id}` is a finished job's result,
      with `/status` and `/download` behind it, `GET path` the list. Where the resource is more than the result,
      `get(ctx: ResourceContext, id: str)` returns one (`None`: there is none) and `list(ctx)`, or
      `list(ctx, query: Model)`, what `GET path` shows; the handler then sets `ctx.result_url`.
    - With `on_complete="redirect"` the `Location` of a submission leads on to the result once it is there.
    - `webhook_url` is told of each job that is submitted without a `webhookUrl`.
    - `unavailable` returns the reason why the type cannot run on this machine, or `None`.

    Raises `JobTypeError` if the declaration cannot work.
    """

    def declare(handler: Handler) -> Handler:
        _check_name(name)
        _check_counts(name, max_attempts=max_attempts, concurrency=concurrency, max_queued=max_queued)
        _check_durations(name, timeout_s=timeout_s, stall_timeout_s=stall_timeout_s, retain_s=retain_s)
        _check_interrupts(name, on_interrupt, max_recoveries)
        _check_no_retry(name, no_retry)
        if on_complete not in (None, "redirect"):
            raise JobTypeError(f"{name}: on_complete is 'redirect', or None")
        _check_webhook_url(name, webhook_url)
        resource = _resource(name, path, get, list)
        input_type, returns = _signature(name, handler)
        doc = inspect.getdoc(handler) or ""
        job_type = JobType(
            name=name,
            title=title or name.replace("-", " ").capitalize(),
            description=doc if description is None else description,
            handler=handler,
            is_async=inspect.iscoroutinefunction(handler),
            input_type=input_type,
            output=output_adapter(name, returns),
            uploads=_upload_fields(name, input_type),
            max_attempts=max_attempts,
            no_retry=no_retry,
            timeout_s=timeout_s,
            stall_timeout_s=stall_timeout_s,
            on_interrupt=on_interrupt,
            max_recoveries=max_recoveries,
            concurrency=concurrency,
            max_queued=max_queued,
            retain_s=retain_s,
            resource=resource,
            on_complete=on_complete,
            webhook_url=webhook_url,
            unavailable=_always if unavailable is None else _looked_up(unavailable),
            source=_current_source or handler.__module__,
        )
        earlier = _declared.get(name)
        if earlier is not None and _place(earlier.handler) != _place(handler):
            raise JobTypeError(f"the job type {name!r} is declared twice: {earlier.source}, {job_type.source}")
        _declared[name] = job_type
        return handler

    return declare


def declared(name: str) -> JobType:
    """The type that a loaded module declared as `name`. Raises `JobTypeError` if none did."""
    try:
        return _declared[name]
    except KeyError:
        raise JobTypeError(f"no loaded module declares the job type {name!r}") from None


def _place(handler: Callable[..., Any]) -> tuple[str, str]:
    """Where a function stands: the same for a module that is loaded again."""
    return handler.__module__, handler.__qualname__


_declared: dict[str, JobType] = {}
_current_source: str | None = None


def _load_source(source: str) -> list[JobType]:
    global _current_source  # noqa: PLW0603 - @job has no other way to know what is being imported
    _current_source = source
    try:
        name = load_module(source).__name__
    except (SetupError, JobTypeError) as error:
        raise SetupError(str(error)) from error
    except (Exception, SystemExit) as error:  # a script without a main guard may call sys.exit()
        raise SetupError(f"{source} could not be imported: {type(error).__name__}: {error}") from error
    finally:
        _current_source = None
    # By the module too: another source may have imported it first, or it goes by two spellings.
    return [
        job_type
        for job_type in _declared.values()
        if job_type.source == source or f"{job_type.handler.__module__}.".startswith(f"{name}.")
    ]


def load_module(source: str) -> types.ModuleType:
    """Import a module by name, or by the path of its file or package directory. Raises `SetupError`."""
    if source.endswith(".py") or "/" in source:
        return _load_path(Path(source).resolve())
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))  # as `python -m` does
    try:
        found = importlib.util.find_spec(source)
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise SetupError(f"there is no module {source!r}: give a module's name or the path of a .py file")
    return importlib.import_module(source)


def _load_path(path: Path) -> types.ModuleType:
    file = path / "__init__.py" if path.is_dir() else path
    if not file.is_file():
        raise SetupError(f"there is no job module at {path}: give a module's name or the path of a .py file")
    name = path.stem
    loaded = sys.modules.get(name)
    if loaded is not None:
        if getattr(loaded, "__file__", None) == str(file):
            return loaded
        raise SetupError(f"{path} cannot be loaded: another module is called {name!r} already; rename the file")
    search = [str(path)] if path.is_dir() else None
    spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=search)
    if spec is None or spec.loader is None:
        raise SetupError(f"{path} is not a Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # its neighbours can be imported, as for a script
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _check_name(name: str) -> None:
    if not isinstance(name, str):  # the decorator without its parentheses, most likely
        raise JobTypeError('the decorator takes the name of the job type: @job("name")')
    if not _NAME.fullmatch(name) or len(name) > _MAX_NAME_CHARS or name in _RESERVED:
        raise JobTypeError(f"{name!r} cannot name a job type: use lower-case words joined by hyphens")


def _check_counts(name: str, **counts: int | None) -> None:
    for what, count in counts.items():
        if count is not None and count < 1:
            raise JobTypeError(f"{name}: {what} is at least 1")


def _check_durations(name: str, *, retain_s: float | None, **limits: float | None) -> None:
    for what, limit_s in limits.items():
        if limit_s is not None and not 0 < limit_s < math.inf:
            raise JobTypeError(f"{name}: {what} is a number of seconds above 0, or None for no limit")
    if retain_s is not None and not 0 <= retain_s < math.inf:
        raise JobTypeError(f"{name}: retain_s is a number of seconds, not less than 0")


def _check_interrupts(name: str, on_interrupt: str, max_recoveries: int | None) -> None:
    if on_interrupt not in ("requeue", "fail"):
        raise JobTypeError(f"{name}: on_interrupt is 'requeue' or 'fail'")
    if max_recoveries is not None and max_recoveries < 0:
        raise JobTypeError(f"{name}: max_recoveries is at least 0")


def _check_no_retry(name: str, no_retry: object) -> None:
    listed = no_retry if isinstance(no_retry, tuple) else (None,)
    if not all(isinstance(each, type) and issubclass(each, BaseException) for each in listed):
        raise JobTypeError(f"{name}: no_retry is a tuple of exception classes")


def _check_webhook_url(name: str, url: object) -> None:
    """Its form. Whether the server may send there, it says when it starts: that depends on its settings."""
    if url is not None and not (isinstance(url, str) and re.match(r"https?://[^/?#]", url, re.IGNORECASE)):
        raise JobTypeError(f"{name}: webhook_url is an http(s) URL, or None")


def _resource(
    name: str, path: str | None, get: Callable[..., Any] | None, list: Callable[..., Any] | None
) -> Resource | None:
    resource = declared_resource(name, path, get, list)
    if resource is not None:
        taken = [(other.name, other.resource.path) for other in _declared.values() if other.resource is not None]
        check_apart(name, resource.path, taken)
    return resource


def _signature(name: str, handler: Callable[..., Any]) -> tuple[type[BaseModel] | None, Any]:
    """The input model and the return annotation."""
    if inspect.isasyncgenfunction(handler) or inspect.isgeneratorfunction(handler):
        raise JobTypeError(f"{name}: a handler returns its result, it does not yield")
    try:
        hints = typing.get_type_hints(handler, include_extras=True)
    except (NameError, TypeError) as error:
        raise JobTypeError(f"{name}: an annotation cannot be resolved: {error}") from error
    signature = inspect.signature(handler).parameters
    parameters = [name for name, parameter in signature.items() if parameter.kind in _POSITIONAL]
    if len(parameters) != len(signature) or not 1 <= len(parameters) <= 2:  # noqa: PLR2004 - ctx, and maybe input
        raise JobTypeError(f"{name}: a handler takes (ctx) or (ctx, input)")
    returns = hints.get("return", Any)
    if len(parameters) == 1:
        return None, returns
    annotation = hints.get(parameters[1])
    if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)) or issubclass(annotation, RootModel):
        raise JobTypeError(f"{name}: annotate {parameters[1]!r} with a pydantic model")
    try:
        annotation.model_json_schema()
    except PydanticUserError as error:
        raise JobTypeError(f"{name}: the input cannot be described as JSON: {error}") from error
    return annotation, returns


def _always() -> None:
    """There is no reason why the type could not run."""


def _looked_up(unavailable: Callable[[], str | None]) -> Callable[[], str | None]:
    """The author's answer, asked for once in a while: it is wanted at every claim, and may search the disk."""
    answer: str | None = None
    asked_s = -math.inf

    def remembered() -> str | None:
        nonlocal answer, asked_s
        now_s = time.monotonic()
        if now_s - asked_s >= AVAILABILITY_LASTS_S:
            answer, asked_s = unavailable(), now_s
        return answer

    return remembered


def _upload_fields(name: str, input_type: type[BaseModel] | None) -> dict[str, bool]:
    """The model's `Upload` and `Upload | None` fields, and whether each must be given."""
    uploads: dict[str, bool] = {}
    for key, info in (input_type.model_fields if input_type else {}).items():
        is_union = typing.get_origin(info.annotation) in (typing.Union, types.UnionType)
        choices = set(typing.get_args(info.annotation)) if is_union else {info.annotation}
        if Upload in choices and key == INPUT_PART:
            raise JobTypeError(f"{name}: a file field cannot be called {key!r}: so is the part with all other fields")
        if Upload in choices and choices <= {Upload, type(None)} and info.validation_alias in (None, key):
            uploads[key] = info.is_required()
        elif _mentions_upload(info.annotation, set()):
            raise JobTypeError(f"{name}: the field {key!r} must be `Upload` or `Upload | None`, without an alias")
    return uploads


def _mentions_upload(annotation: Any, seen: set[Any]) -> bool:
    """Whether there is an `Upload` anywhere inside: in a list, or in a model within the model."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel) and annotation not in seen:
        seen.add(annotation)
        return any(_mentions_upload(info.annotation, seen) for info in annotation.model_fields.values())
    return annotation is Upload or any(_mentions_upload(part, seen) for part in typing.get_args(annotation))


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
