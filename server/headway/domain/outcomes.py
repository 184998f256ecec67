"""How an attempt ended, as frozen values that the store records."""

from dataclasses import dataclass
from datetime import datetime

from .jobs import JobError, OutputFile


@dataclass(frozen=True, slots=True)
class Completed:
    """The handler returned. `result_json` is its return value as JSON text, `result_url` what it set for clients."""

    result_json: str
    files: tuple[OutputFile, ...] = ()
    result_url: str | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The attempt failed. `retryable` is false where another attempt could not end otherwise."""

    error: JobError
    retryable: bool = True


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The attempt stopped because a cancel was recorded."""


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The attempt stopped because the server stops; `crashed` if it did not stop in good order."""

    crashed: bool = False


@dataclass(frozen=True, slots=True)
class Retry:
    """The attempt failed, and the job goes back into the queue until `run_at`."""

    error: JobError
    run_at: datetime


Outcome = Completed | Failed | Cancelled | Interrupted | Retry
