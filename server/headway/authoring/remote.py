"""`@remote_job`: declares a job type whose jobs are done by workers elsewhere, in any language, over HTTP."""

import inspect
import math
import typing
from collections.abc import Callable
from typing import Any, Literal, TypedDict, Unpack

from pydantic import BaseModel, TypeAdapter

from ..errors import JobTypeError
from .attempt_limits import AttemptLimits
from .checks import check_name, check_type
from .declaring import Handler, input_model, remember, source_of, words
from .job_types import JobType
from .resources import output_adapter
from .uploads import upload_fields

LEASE_S = 60.0
MOST_LEASE_S = 24 * 60 * 60


def remote_job(  # noqa: PLR0913 - one keyword for each property of a type
    name: str,
    *,
    lease_s: float = LEASE_S,
    title: str | None = None,
    description: str | None = None,
    max_attempts: int = 1,
    timeout_s: float | None = None,
    stall_timeout_s: float | None = None,
    on_interrupt: Literal["requeue", "fail"] = "requeue",
    max_recoveries: int | None = None,
    concurrency: int | None = None,
    max_queued: int | None = None,
    retain_s: float | None = None,
    max_output_mib: float | None = None,
    webhook_url: str | None = None,
) -> Callable[[Handler], Handler]:
    """Declare a job type without a handler: workers claim its jobs over HTTP, do them, and report.

    The function is never called. Its signature says what goes in and out: `def transcode(input: Video) -> Report: ...`,
    where `Video` is a pydantic model, or absent; its docstring describes the type.

    A worker that is not heard from for `lease_s` seconds has lost its attempt, which counts as a crash: the job is
    queued again, at most `max_recoveries` times. All other parameters mean what they mean in `job`.

    Raises `JobTypeError` if the declaration cannot work.
    """

    def declare(function: Handler) -> Handler:
        check_name(name)
        input_type, returns = _signature(name, function)
        remember(
            remote_type(
                name,
                function,
                input_type,
                output_adapter(name, returns),
                lease_s=lease_s,
                title=title,
                description=(inspect.getdoc(function) or "") if description is None else description,
                max_attempts=max_attempts,
                timeout_s=timeout_s,
                stall_timeout_s=stall_timeout_s,
                on_interrupt=on_interrupt,
                max_recoveries=max_recoveries,
                concurrency=concurrency,
                max_queued=max_queued,
                retain_s=retain_s,
                max_output_mib=max_output_mib,
                webhook_url=webhook_url,
            )
        )
        return function

    return declare


class Common(TypedDict, total=False):
    """What a type declares that is the same for handlers here and for workers elsewhere."""

    max_attempts: int
    timeout_s: float | None
    stall_timeout_s: float | None
    on_interrupt: Literal["requeue", "fail"]
    max_recoveries: int | None
    concurrency: int | None
    max_queued: int | None
    retain_s: float | None
    webhook_url: str | None


def remote_type(
    name: str,
    declared: Callable[..., Any],
    input_type: type[BaseModel] | None,
    output: TypeAdapter[Any],
    *,
    lease_s: float,
    title: str | None,
    description: str,
    max_output_mib: float | None,
    **common: Unpack[Common],
) -> JobType:
    """The type; `declared` is what stands for its handler. Raises `JobTypeError` if it cannot work."""
    check_name(name)
    if not 1 <= lease_s <= MOST_LEASE_S or not math.isfinite(lease_s):
        raise JobTypeError(f"{name}: lease_s must be a number of seconds from 1 to {MOST_LEASE_S:,}")
    job_type = JobType(
        name=name,
        **words(name, title, description),
        handler=declared,
        is_async=True,  # it takes no process
        input_type=input_type,
        output=output,
        uploads=upload_fields(name, input_type),
        limits=AttemptLimits(max_output_mib=max_output_mib),
        lease_s=lease_s,
        source=source_of(declared),
        **common,
    )
    check_type(job_type)
    return job_type


def _signature(name: str, function: Callable[..., Any]) -> tuple[Any, Any]:
    """The model of the input, if there is one, and the annotation of the result."""
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except (NameError, TypeError) as error:
        raise JobTypeError(f"{name}: an annotation cannot be resolved: {error}") from error
    parameters = list(inspect.signature(function).parameters)
    if len(parameters) > 1:
        raise JobTypeError(f"{name}: a remote job takes (input) or nothing: what else it needs is its worker's affair")
    return (input_model(name, parameters[0], hints) if parameters else None), hints.get("return", Any)
