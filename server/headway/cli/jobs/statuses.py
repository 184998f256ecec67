"""Exit statuses, and which of them an error or the end of a job has."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import IntEnum

from ...client import ClientError, JobCancelledError, JobFailedError, JobState, ProblemError, ServerUnreachableError
from ..printing import fail


class ExitStatus(IntEnum):
    """What the commands for jobs end with. Scripts rely on it."""

    COMPLETED = 0
    FAILED = 1
    USAGE = 2
    CANCELLED = 3
    UNREACHABLE = 4
    NOT_ALLOWED = 5
    INTERRUPTED = 130  # 128 + SIGINT, as shells have it


OF_JOBS = {"failed": ExitStatus.FAILED, "cancelled": ExitStatus.CANCELLED}
NOT_ALLOWED = frozenset({401, 403})
WRONG_USE = frozenset({400, 404, 413, 415, 422})
"""HTTP statuses that say that what was typed is wrong."""


def status_of_jobs(states: Iterable[JobState]) -> ExitStatus:
    """Of several jobs: failed if any has failed, else cancelled if any was cancelled."""
    found = {OF_JOBS.get(state.status, ExitStatus.COMPLETED) for state in states}
    return min(found - {ExitStatus.COMPLETED}, default=ExitStatus.COMPLETED)


def status_of_error(error: Exception) -> ExitStatus:
    """The exit status of what a client raises."""
    if isinstance(error, ServerUnreachableError):
        return ExitStatus.UNREACHABLE
    if isinstance(error, JobCancelledError):
        return ExitStatus.CANCELLED
    if isinstance(error, ProblemError) and error.status in NOT_ALLOWED:
        return ExitStatus.NOT_ALLOWED
    if isinstance(error, ProblemError) and error.status in WRONG_USE:
        return ExitStatus.USAGE
    return ExitStatus.FAILED


def message_of(error: Exception) -> str:
    """The line that says what is wrong, and what to do about it."""
    if isinstance(error, ServerUnreachableError):
        return f"{error} (is it running? --url or HEADWAY_URL names another server)"
    if isinstance(error, ProblemError) and error.status in NOT_ALLOWED:
        return f"{error} (`headway login`, or HEADWAY_API_KEY, gives a key)"
    if isinstance(error, JobFailedError):
        return f"job {error.state.id} failed: {error}"
    return str(error)


@contextmanager
def refusals() -> Iterator[None]:
    """Turns what a client raises into a line on stderr and an exit status."""
    try:
        yield
    except ClientError as error:
        fail(message_of(error), status_of_error(error))
    except KeyboardInterrupt:
        raise SystemExit(ExitStatus.INTERRUPTED) from None
    except OSError as error:  # a file that is to be sent or written
        if isinstance(error, BrokenPipeError):
            raise
        fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except ValueError as error:  # a URL, a key
        fail(str(error))
