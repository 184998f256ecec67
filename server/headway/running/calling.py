"""Calling a handler, for both kinds of it: its input is parsed, its result encoded, and its end is a frozen value.

Child processes import this module, so it loads neither asyncio nor logging.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from pydantic import BaseModel, ValidationError

from ..authoring.contexts import BlockingContext, Context
from ..authoring.dependencies import Factory
from ..authoring.job_types import JobType
from ..authoring.uploads import Upload
from ..domain.jobs import JobError
from ..domain.outcomes import INTERRUPTED
from ..errors import JobCancelled, JobFailed
from ..limits import RESULT_BYTES
from ..tracebacks import describe, formatted


class Returned(NamedTuple):
    """The handler returned. `result_url` is what it set in the context. A tuple, like `Completed`."""

    result_json: str
    result_url: str | None = None


@dataclass(frozen=True, slots=True)
class Raised:
    """The handler raised, or its process died. `error` is what clients may see of it."""

    error: JobError
    final: bool = False
    """Whether a retry is pointless: for a `JobFailed`, or for one of the type's `no_retry`."""
    traceback: str | None = None
    """For the log, where the author did not expect the exception."""
    exception: BaseException | None = None
    """What was raised, if that happened in this process."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """The handler was interrupted."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The attempt ended without an end of its own: what ran it is gone. That counts as a crash, not as a failure."""

    how: str = "the job's process died with the one that it was forked from"
    """For the job's log."""
    error: JobError = INTERRUPTED
    """Why the job fails, if it may not be started again."""


@dataclass(frozen=True, slots=True)
class NotBegun:
    """The attempt has not begun, because the worker that was to run it had gone."""


End = Returned | Raised | Stopped
"""How a handler ended."""

Needs = Mapping[str, Factory]
"""Factories by the parameter that takes what they make."""


class DependencyFailedError(Exception):
    """A dependency could not be set up: its factory raised the exception that is this one's cause."""

    def __init__(self, factory: Factory, cause: BaseException) -> None:
        super().__init__(f"{factory.name}: {describe(cause)}")
        self.cause = cause


def call_blocking(
    job_type: JobType,
    context: BlockingContext,
    input_json: str,
    uploads: Mapping[str, Upload],
    on_begin: Callable[[], None],
    dependencies: Callable[[Needs], Mapping[str, Any]],
) -> End:
    """Call a `def` handler. Never raises.

    `on_begin` is called when its input has been parsed, `dependencies` then makes the other arguments.
    """
    try:
        parsed = _parse(job_type, input_json, uploads)
        on_begin()
        value = job_type.call(context, parsed, dependencies(job_type.dependencies))
        return _returned(job_type, value, context.result_url)
    except BaseException as error:  # noqa: BLE001 - SystemExit too: the process is the handler's
        return end_of(error, job_type)


async def call_async(
    job_type: JobType,
    context: Context,
    input_json: str,
    uploads: Mapping[str, Upload],
    dependencies: Callable[[Needs], Awaitable[Mapping[str, Any]]],
) -> End:
    """Call an `async def` handler. Never raises: `SystemExit` in a task would end the event loop."""
    try:
        parsed = _parse(job_type, input_json, uploads)
        needed = await dependencies(job_type.dependencies) if job_type.dependencies else {}
        return _returned(job_type, await job_type.call(context, parsed, needed), context.result_url)
    except BaseException as error:  # noqa: BLE001 - as above
        from asyncio import CancelledError  # noqa: PLC0415 - child processes never need asyncio

        return Stopped() if issubclass(type(error), CancelledError) else end_of(error, job_type)


def returned_elsewhere(job_type: JobType, result_json: bytes, result_url: str | None) -> End:
    """The end of an attempt whose result a worker has sent. Never raises."""
    try:
        try:
            value = job_type.output.validate_json(result_json)
        except ValidationError as error:
            title = "The worker sent a result other than the job type declares"
            raise _invalid_output(title, _first_of(error)) from error
        return _returned(job_type, value, result_url)
    except Exception as error:  # noqa: BLE001 - as for handlers: the output's model is the author's
        return end_of(error, job_type)


def end_of(error: BaseException, job_type: JobType | None) -> Stopped | Raised:
    """What an exception means. `job_type` is `None` if it could not even be loaded. Never raises.

    Its class decides. `isinstance` would ask `__class__` too, which an author can replace.
    """
    detail = describe(error)
    if issubclass(type(error), DependencyFailedError):
        detail, error = str(error), error.cause  # type: ignore[attr-defined]
    if issubclass(type(error), JobCancelled):
        return Stopped()
    try:
        if issubclass(type(error), JobFailed):
            failed = cast("JobFailed", error)
            stated = JobError.stated(failed.type, failed.title, failed.detail, failed.status)
            return Raised(stated, final=True, exception=error)
        final = job_type is not None and issubclass(type(error), job_type.no_retry)
    except BaseException:  # noqa: BLE001 - attributes of the author's own, or a metaclass
        final = False
    return Raised(
        JobError.stated("handler-error", "The job's handler raised an error", detail, 500),
        final=final,
        traceback=formatted(error),
        exception=error,
    )


def _parse(job_type: JobType, input_json: str, uploads: Mapping[str, Upload]) -> BaseModel | None:
    """The input as its model. It was valid when it was submitted; the model may have changed since."""
    try:
        return job_type.parse_input(input_json, uploads)
    except ValidationError as error:
        raise JobFailed(
            "The stored input no longer fits the job type",
            detail=_first_of(error),
            status=422,
            type="invalid-input",
        ) from error


def _returned(job_type: JobType, value: Any, result_url: str | None) -> Returned:
    try:
        result_json = job_type.encode_output(value)
    except ValidationError as error:
        raise _invalid_output("The handler returned something other than it declares", _first_of(error)) from error
    except Exception as error:
        raise _invalid_output("The result cannot be written as JSON", describe(error)) from error
    if _size_bytes(result_json) > RESULT_BYTES:
        raise _invalid_output(
            "The result is too large",
            f"It is over {RESULT_BYTES:,} bytes: write a file into ctx.output_dir instead.",
        )
    return Returned(result_json, result_url)


def _invalid_output(title: str, detail: str) -> JobFailed:
    return JobFailed(title, detail=detail, status=500, type="invalid-output")


def _size_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _first_of(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'/'.join(str(part) for part in first['loc'])}: {first['msg']}"
