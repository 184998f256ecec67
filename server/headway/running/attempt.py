"""One running attempt, as the engine and the executor share it: what it reports, how to stop it, how it ended."""

import asyncio
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ..authoring.reporting import LogBuffer, Reported
from ..domain.jobs import Claim, Job, JobError, NewLogLine
from ..domain.progress import Meter, Progress


class StopReason(StrEnum):
    """Why an attempt is asked to stop."""

    CANCEL = "cancel"
    TIMEOUT = "timeout"
    STALLED = "stalled"
    SHUTDOWN = "shutdown"


@dataclass(frozen=True, slots=True)
class Returned:
    """The handler returned; the value as JSON text, and `ctx.result_url` if it set that."""

    result_json: str
    result_url: str | None = None


@dataclass(frozen=True, slots=True)
class Raised:
    """The handler raised, died or stopped. `error` is what clients may see of it."""

    error: JobError
    final: bool = False
    """Whether no retry would mend it: a `JobFailed`, or one of the type's `no_retry`."""
    exception: BaseException | None = None
    """What the handler raised, if it ran in this process."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """The handler stopped because it was asked to."""


End = Returned | Raised | Stopped


class Attempt:
    """One running attempt, as the engine holds it: what it reports, and how to stop it."""

    def __init__(self, claim: Claim, median_s: float | None) -> None:
        self.claim = claim
        self.job: Job = claim.job
        self.reported = Reported()
        self.logs = LogBuffer()
        self.meter = Meter(time.monotonic(), median_s=median_s)
        self.published = self.meter.initial()
        self.published_s = time.monotonic()
        self._due_s = 0.0
        self.last_sign_s = time.monotonic()
        """When the handler last gave a sign of life: its begin, a report, a log line, a checkpoint."""
        self.stop_reason: StopReason | None = None
        self.grace_s = 0.0
        self.asked_to_stop: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def stop(self, reason: StopReason, grace_s: float) -> None:
        """Ask the handler to stop within `grace_s` seconds. The first reason stands; returns at once."""
        if self.stop_reason is None:
            self.stop_reason = reason
            self.grace_s = grace_s
            self.asked_to_stop.set_result(None)
        elif reason is StopReason.SHUTDOWN:
            self.grace_s = min(self.grace_s, grace_s)

    def take_lines(self) -> list[NewLogLine]:
        """The log lines since the last call."""
        lines = self.logs.take()
        if lines:
            self.last_sign_s = time.monotonic()
        return lines

    def read_progress(self, every_s: float = 0.0) -> Progress | None:
        """New progress to publish, `None` if there is none, or if there was some less than `every_s` seconds ago.

        What comes a little too early is let through and its time counted to the next: a handler that reports just as
        often as may be published is not skipped for its jitter.
        """
        now_s = time.monotonic()
        if every_s and now_s < self._due_s - every_s / 2:
            return None
        values = self.reported.take()
        if values is None:
            return None
        self.last_sign_s = now_s
        progress = self.meter.read(values, now_s)
        if progress == self.published and now_s - self.published_s < 1:
            return None
        self.published, self.published_s = progress, now_s
        self._due_s = max(self._due_s, now_s) + every_s
        return progress

    # What a child's words are told to (`isolation.Listening`)

    def began(self) -> None:
        self.last_sign_s = time.monotonic()

    def progress(self, values: tuple[Any, ...]) -> None:
        self.reported.put(values)

    def log(self, line: NewLogLine) -> None:
        self.logs.relay(line)
