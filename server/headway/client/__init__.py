"""The Python client: submits jobs to a server, follows them, and fetches what comes out. Knows nothing of the server.

    from headway.client import Client

    with Client("http://localhost:8080") as client:
        job = client.submit("ping", {"message": "hello"})
        print(job.result())

`AsyncClient` is its twin for asyncio. Names are loaded when they are first used (PEP 562), httpx when a client is made.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .asynchronous import AsyncClient, AsyncFiles, AsyncJob
    from .blocking import Client, Files, Job
    from .errors import (
        ClientClosedError,
        ClientError,
        ConflictError,
        ForbiddenError,
        GoneError,
        IdempotencyKeyReusedError,
        JobCancelledError,
        JobFailedError,
        JobTypeUnavailableError,
        MalformedRequestError,
        NotFinishedError,
        NotFoundError,
        PreconditionFailedError,
        ProblemError,
        QuotaExceededError,
        ServerError,
        ServerUnreachableError,
        TooLargeError,
        TooManyRequestsError,
        UnauthorizedError,
        UnavailableError,
        ValidationFailedError,
        WaitTimeoutError,
    )
    from .events import Event, LogEvent, ResetEvent, StateEvent
    from .inputs import File
    from .mapping import Outcome
    from .states import JobError, JobState, LogLine, OutputFile

_HOMES = {
    ".asynchronous": ("AsyncClient", "AsyncFiles", "AsyncJob"),
    ".blocking": ("Client", "Files", "Job"),
    ".errors": (
        "ClientClosedError",
        "ClientError",
        "ConflictError",
        "ForbiddenError",
        "GoneError",
        "IdempotencyKeyReusedError",
        "JobCancelledError",
        "JobFailedError",
        "JobTypeUnavailableError",
        "MalformedRequestError",
        "NotFinishedError",
        "NotFoundError",
        "PreconditionFailedError",
        "ProblemError",
        "QuotaExceededError",
        "ServerError",
        "ServerUnreachableError",
        "TooLargeError",
        "TooManyRequestsError",
        "UnauthorizedError",
        "UnavailableError",
        "ValidationFailedError",
        "WaitTimeoutError",
    ),
    ".events": ("Event", "LogEvent", "ResetEvent", "StateEvent"),
    ".inputs": ("File",),
    ".mapping": ("Outcome",),
    ".states": ("JobError", "JobState", "LogLine", "OutputFile"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "AsyncClient",
    "AsyncFiles",
    "AsyncJob",
    "Client",
    "ClientClosedError",
    "ClientError",
    "ConflictError",
    "Event",
    "File",
    "Files",
    "ForbiddenError",
    "GoneError",
    "IdempotencyKeyReusedError",
    "Job",
    "JobCancelledError",
    "JobError",
    "JobFailedError",
    "JobState",
    "JobTypeUnavailableError",
    "LogEvent",
    "LogLine",
    "MalformedRequestError",
    "NotFinishedError",
    "NotFoundError",
    "Outcome",
    "OutputFile",
    "PreconditionFailedError",
    "ProblemError",
    "QuotaExceededError",
    "ResetEvent",
    "ServerError",
    "ServerUnreachableError",
    "StateEvent",
    "TooLargeError",
    "TooManyRequestsError",
    "UnauthorizedError",
    "UnavailableError",
    "ValidationFailedError",
    "WaitTimeoutError",
]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home, __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
