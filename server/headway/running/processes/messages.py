"""The messages between the server and a child, one frozen class each. The last one is a `calling.End`."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ...authoring.uploads import Upload
from ...domain.attempts import Usage
from ...domain.jobs import NewLogLine
from ...ports.files import Directories
from ..calling import End

# From the server


@dataclass(frozen=True, slots=True)
class Start:
    """The first message: the attempt that the child is to run."""

    source: str
    """The module that declares the job type: its name or its path."""
    type: str
    job_id: str
    attempt: int
    owner: str
    input_json: str
    checkpoint_json: str | None
    directories: Directories
    lock_path: str
    """The file to lock until the child ends, so that two attempts of one job never run at once."""
    uploads: Mapping[str, Upload]


@dataclass(frozen=True, slots=True)
class Cancel:
    """The handler is to stop: sets `ctx.cancelled`."""


class CheckpointOutcome(StrEnum):
    """What became of a checkpoint."""

    STORED = "stored"
    LOST = "lost"  # the attempt is no longer the job's current one
    FAILED = "failed"  # the store cannot be written


@dataclass(frozen=True, slots=True)
class CheckpointAnswer:
    """The answer to a `Checkpoint`, which the handler waits for."""

    outcome: CheckpointOutcome


# From the child


@dataclass(frozen=True, slots=True)
class Began:
    """The handler runs from now on; until then its process was being made ready."""


LINES_PER_REPORT = 100


@dataclass(frozen=True, slots=True)
class Report:
    """New progress values (as `Reported.take` gives them), at most `LINES_PER_REPORT` new log lines, or both."""

    progress: tuple[Any, ...] | None
    lines: tuple[NewLogLine, ...]
    dropped: int = 0
    """How many more lines there were, which the attempt may not write."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """JSON text to be stored durably."""

    checkpoint_json: str


@dataclass(frozen=True, slots=True)
class HandlerEnded:
    """How the handler ended: sent before its dependencies are cleaned up, if there are any. `end` comes again later."""

    end: End


@dataclass(frozen=True, slots=True)
class Used:
    """What the process has used for this attempt, where its parent cannot tell."""

    usage: Usage


@dataclass(frozen=True, slots=True)
class Stays:
    """The process waits for another attempt after the end that comes next: nothing of this one is left in it."""


@dataclass(frozen=True, slots=True)
class CleanUpFailed:
    """A dependency's clean-up raised."""

    factory: str
    reason: str
    traceback: str


ToChild = Start | Cancel | CheckpointAnswer
FromChild = Began | Report | Checkpoint | HandlerEnded | CleanUpFailed | Used | Stays | End
Message = ToChild | FromChild
