"""`@job`: declares a function as the handler of a job type, and checks the declaration."""

import inspect
import math
import sys
import time
import typing
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypedDict, TypeVar

from pydantic import BaseModel, PydanticUserError, RootModel

from ..errors import JobTypeError
from ..limits import REASON_CHARS, TYPE_DESCRIPTION_CHARS, TYPE_TITLE_CHARS
from ..text import clean_text, spoken
from ..tracebacks import claim, describe
from .attempt_limits import AttemptLimits
from .checks import check_kept, check_name, check_no_retry, check_type
from .dependencies import Factory, checked_factory, dependency_in
from .job_types import JobType, always
from .resources import check_apart, declared_resource, output_adapter
from .uploads import upload_fields

AVAILABILITY_LASTS_S = 1.0
MARK = "__headway_job_type__"
"""The attribute of a handler that has its type's name: `headway.client`, which imports nothing of this, reads it."""

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)

Handler = TypeVar("Handler", bound=Callable[..., Any])


def job(  # noqa: PLR0913 - one keyword for each property of a type
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
    keep_process: bool = False,
    max_jobs_per_process: int | None = None,
    max_mib_per_process: float | None = None,
    memory_mib: float | None = None,
    cpu_s: float | None = None,
    max_output_mib: float | None = None,
    max_pids: int | None = None,
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
    `Model` is a pydantic model, or absent; the return annotation types the result. Further parameters are dependencies:
    `session: Annotated[Session, Depends(factory)]`.

    `title` and `description` (by default from the name and the docstring) are for people.

    - A job whose handler raises is tried up to `max_attempts` times. `JobFailed` and the exceptions in `no_retry` are
      not retried.
    - An attempt is stopped after `timeout_s` seconds, or after `stall_timeout_s` seconds without a sign of progress
      (a report, a log line, a checkpoint).
    - If the server stops or crashes, the job is started again, after crashes at most `max_recoveries` times (by default
      the server's setting). With `on_interrupt="fail"` it fails instead.
    - At most `concurrency` jobs of the type run at once, and at most `max_queued` wait.
    - A job that has ended is kept for `retain_s` seconds.
    - With `keep_process`, the jobs of a `def` handler run one after the other in processes that stay, with what their
      dependencies have set up. A process is replaced after `max_jobs_per_process` jobs, after a job at whose end it
      has more than `max_mib_per_process` MiB of memory of its own, and after one that was stopped or left threads.
    - An attempt fails if its processes use more than `memory_mib` MiB of memory or `cpu_s` seconds of CPU time, or are
      more than `max_pids` (`def` handlers only); or if it has more than `max_output_mib` MiB of files. By default the
      server's settings apply.
    - `path` makes the type a REST resource too: `POST path` submits, `GET path/{id}` is a finished job's result, with
      `/status` and `/download` below it, and `GET path` is the list. If the resource is more than the result,
      `get(ctx: ResourceContext, id: str)` returns one resource (`None` is a 404), and `list(ctx)` or
      `list(ctx, query: Model)` returns what `GET path` shows; the handler then sets `ctx.result_url`.
    - With `on_complete="redirect"`, the `Location` of a submission redirects to the result once the job has completed.
    - `webhook_url` receives the events of jobs that were submitted without a `webhookUrl`.
    - `unavailable` returns the reason why the type cannot run on this machine, or `None`.

    Raises `JobTypeError` if the declaration cannot work.
    """
    limits = AttemptLimits(memory_mib=memory_mib, cpu_s=cpu_s, max_output_mib=max_output_mib, max_pids=max_pids)

    def declare(handler: Handler) -> Handler:
        check_name(name)
        check_kept(name, handler, keep_process, max_jobs_per_process, max_mib_per_process)
        check_no_retry(name, no_retry)
        if on_complete not in (None, "redirect"):
            raise JobTypeError(f"{name}: on_complete must be 'redirect' or None")
        resource = declared_resource(name, path, get, list)
        if resource is not None:
            check_apart(name, resource.path, _paths_beside(handler))
        signature = _signature(name, handler)
        job_type = JobType(
            name=name,
            **words(name, title, (inspect.getdoc(handler) or "") if description is None else description),
            handler=handler,
            is_async=inspect.iscoroutinefunction(handler),
            input_type=signature.input_type,
            output=output_adapter(name, signature.returns),
            uploads=upload_fields(name, signature.input_type),
            dependencies=signature.dependencies,
            positional=signature.positional,
            max_attempts=max_attempts,
            no_retry=no_retry,
            timeout_s=timeout_s,
            stall_timeout_s=stall_timeout_s,
            on_interrupt=on_interrupt,
            max_recoveries=max_recoveries,
            concurrency=concurrency,
            max_queued=max_queued,
            retain_s=retain_s,
            keep_process=keep_process,
            max_jobs_per_process=max_jobs_per_process,
            max_mib_per_process=max_mib_per_process,
            limits=limits,
            resource=resource,
            on_complete=on_complete,
            webhook_url=webhook_url,
            unavailable=always if unavailable is None else _cached(unavailable),
            source=source_of(handler),
        )
        check_type(job_type)
        remember(job_type)
        return handler

    return declare


def declared(name: str) -> JobType:
    """The type called `name` of a module that has been loaded. Raises `JobTypeError` if there is none."""
    try:
        return _declared.get((name, False)) or _declared[name, True]
    except KeyError:
        raise JobTypeError(f"no loaded module declares the job type {name!r}") from None


def put_declarations(declarations: Mapping[tuple[str, bool], JobType]) -> None:
    """Let these be all that have been declared."""
    _declared.clear()
    _declared.update(declarations)


def declarations() -> dict[tuple[str, bool], JobType]:
    """What has been declared, by name and by whether it is a sample."""
    return dict(_declared)


def all_declared() -> Iterator[JobType]:
    """All types that loaded modules have declared."""
    return iter(_declared.values())


def declared_as(handler: Callable[..., Any]) -> JobType:
    """The type that a decorated function is the handler of. Raises `JobTypeError` if it was not decorated."""
    for job_type in _declared.values():
        if job_type.handler is handler:
            return job_type
    raise JobTypeError(f"{getattr(handler, '__qualname__', handler)!r} is not decorated with @job")


def is_sample(handler: Callable[..., Any]) -> bool:
    """Whether this is the handler of a bundled sample. Samples never collide with an author's types."""
    return f"{handler.__module__}.".startswith(_SAMPLES)


class Words(TypedDict):
    """What a type says to people."""

    title: str
    description: str


def words(name: str, title: str | None, description: str) -> Words:
    """A type's words as they are shown; by default the title is made of the name."""
    return {
        "title": clean_text(title or name.replace("-", " ").capitalize(), TYPE_TITLE_CHARS),
        "description": clean_text(description, TYPE_DESCRIPTION_CHARS, lines=True),
    }


def source_of(handler: Callable[..., Any]) -> str:
    """The module that a child loads to find the handler. A script's is its file: a child has another `__main__`."""
    if _current_source is not None:
        return _current_source
    module = sys.modules.get(handler.__module__)
    if handler.__module__ == "__main__" and (file := getattr(module, "__file__", None)) is not None:
        return str(Path(file).resolve())
    return handler.__module__


def _place(handler: Callable[..., Any]) -> tuple[str, str]:
    """Where a function is defined. It stays the same if its module is loaded again."""
    return handler.__module__, handler.__qualname__


def remember(job_type: JobType) -> None:
    """Remember a type. Samples are kept apart from others; the loader decides which of them are served."""
    key = (job_type.name, is_sample(job_type.handler))
    earlier = _declared.get(key)
    if earlier is not None:
        loaded_again = _place(earlier.handler) == _place(job_type.handler)
        if not loaded_again or (key in _declared_by_this_load and earlier.place != job_type.place):
            raise JobTypeError(_declared_twice(earlier, job_type))
    _declared[key] = job_type
    with suppress(AttributeError, TypeError):  # what is callable need not have attributes
        setattr(job_type.handler, MARK, job_type.name)
    claim(job_type.handler.__module__)
    if _current_source is not None:
        _declared_by_this_load.add(key)


def _declared_twice(earlier: JobType, job_type: JobType) -> str:
    if earlier.place == job_type.place:
        names = f"{earlier.handler.__module__!r} and {job_type.handler.__module__!r}"
        return f"{job_type.place}: the job type {job_type.name!r} is declared twice: its module is loaded as {names}"
    return f"the job type {job_type.name!r} is declared twice: at {earlier.place} and at {job_type.place}"


_SAMPLES = f"{__name__.split('.', maxsplit=1)[0]}.samples."
_declared: dict[tuple[str, bool], JobType] = {}
"""By name, and by whether it is a sample."""
_declared_by_this_load: set[tuple[str, bool]] = set()
"""The keys of `_declared` that the module being loaded has added: what it declares again was not loaded again."""
_current_source: str | None = None


@contextmanager
def source_being_loaded(source: str) -> Iterator[None]:
    """While a module is being imported: types that `@job` declares meanwhile come from `source`."""
    global _current_source  # noqa: PLW0603 - @job has no other way to know what is being imported
    _current_source = source
    _declared_by_this_load.clear()
    try:
        yield
    finally:
        _current_source = None
        _declared_by_this_load.clear()


def declared_by(source: str, module: str) -> list[JobType]:
    """The types that `source` declared.

    They are found by the module's name too: another source may have imported it first, or it is spelled in two ways.
    """
    return [
        job_type
        for job_type in _declared.values()
        if job_type.source == source or f"{job_type.handler.__module__}.".startswith(f"{module}.")
    ]


def _paths_beside(handler: Callable[..., Any]) -> Iterator[tuple[str, str]]:
    """The names and paths of the resources that were declared before; for a sample those of samples."""
    for (name, sample), other in _declared.items():
        if other.resource is not None and sample == is_sample(handler):
            yield name, other.resource.path


class _Signature(NamedTuple):
    """What a handler takes and returns."""

    input_type: type[BaseModel] | None
    returns: Any
    dependencies: Mapping[str, Factory]
    positional: tuple[str, ...]


def _signature(name: str, handler: Callable[..., Any]) -> _Signature:
    if inspect.isasyncgenfunction(handler) or inspect.isgeneratorfunction(handler):
        raise JobTypeError(f"{name}: a handler must return its result, not yield")
    try:
        hints = typing.get_type_hints(handler, include_extras=True)
    except (NameError, TypeError) as error:
        raise JobTypeError(f"{name}: an annotation cannot be resolved: {error}") from error
    dependencies = _dependencies(name, handler, hints)
    parameters = inspect.signature(handler).parameters.values()
    positional = tuple(each.name for each in parameters if each.kind in _POSITIONAL)
    given = [each.name for each in parameters if each.name not in dependencies]
    if not set(given) <= set(positional) or not 1 <= len(given) <= 2:  # noqa: PLR2004 - ctx, and maybe input
        raise JobTypeError(f"{name}: a handler must take (ctx) or (ctx, input), besides what it depends on")
    input_type = input_model(name, given[1], hints) if given[1:] else None
    return _Signature(input_type, hints.get("return", Any), dependencies, positional)


def _dependencies(name: str, handler: Callable[..., Any], hints: Mapping[str, Any]) -> dict[str, Factory]:
    found: dict[str, Factory] = {}
    for parameter in inspect.signature(handler).parameters.values():
        depends = dependency_in(name, hints.get(parameter.name), parameter)
        if depends is not None:
            in_loop = inspect.iscoroutinefunction(handler)
            found[parameter.name] = checked_factory(name, depends, in_loop=in_loop)
    return found


def input_model(name: str, parameter: str, hints: Mapping[str, Any]) -> type[BaseModel]:
    """The model that a parameter is annotated with. Raises `JobTypeError` if it is none."""
    annotation = hints.get(parameter)
    if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)) or issubclass(annotation, RootModel):
        raise JobTypeError(f"{name}: annotate {parameter!r} with a pydantic model")
    try:
        annotation.model_json_schema()
    except PydanticUserError as error:
        raise JobTypeError(f"{name}: the input cannot be described as JSON: {error}") from error
    return annotation


def _reason(unavailable: Callable[[], str | None]) -> str | None:
    """The author's reason, as text that can be shown. A check that fails is one: the list of types must not break."""
    try:
        reason = unavailable()
    except Exception as error:  # noqa: BLE001 - it is the author's
        return f"The check of whether it can run failed: {describe(error)}"
    return None if reason is None else clean_text(spoken(reason), REASON_CHARS)


def _cached(unavailable: Callable[[], str | None]) -> Callable[[], str | None]:
    """The author's function, called once a second at most: every claim needs its answer, and it may search the disk."""
    answer: str | None = None
    asked_s = -math.inf

    def remembered() -> str | None:
        nonlocal answer, asked_s
        now_s = time.monotonic()
        if now_s - asked_s >= AVAILABILITY_LASTS_S:
            answer, asked_s = _reason(unavailable), now_s
        return answer

    return remembered
