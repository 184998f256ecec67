"""One running attempt, as the engine and the executor share it: what it reports, and how to stop it."""

import asyncio
import math
from collections.abc import Collection
from enum import StrEnum
from typing import Any

import structlog

from ..authoring.reporting import LogBuffer, Reported
from ..clock import steady_s
from ..domain.attempts import Usage
from ..domain.jobs import Claim, Job, JobError, NewLogLine
from ..domain.progress import Meter, Progress
from .slots import Slot

log = structlog.get_logger(__name__)


class StopReason(StrEnum):
    """Why an attempt is asked to stop."""

    CANCEL = "cancel"
    TIMEOUT = "timeout"
    STALLED = "stalled"
    LIMIT = "limit"
    SHUTDOWN = "shutdown"


class Attempt:
    """Shared by the engine, which publishes and stops, and the executor, which runs the handler."""

    def __init__(self, claim: Claim, median_s: float | None, slot: Slot | None = None) -> None:
        self.claim = claim
        self.slot = slot or Slot(lambda _: None)
        self.job: Job = claim.job
        self.reported = Reported()
        self.logs = LogBuffer()
        began_s = steady_s()
        self.meter = Meter(began_s, median_s=median_s)
        self.published = self.meter.initial()
        self.published_s = began_s
        self.due_s = -math.inf
        """When progress may be published next, by the monotonic clock.

        A token bucket of two: after a quiet time two reports are let through at once. With one, a single delay would
        push all later reports of a handler that reports at exactly the permitted rate behind their time for good.
        """
        self.last_sign_s = began_s
        """When the handler last showed that it is alive: by beginning, or with a report, log line or checkpoint."""
        self.usage: Usage | None = None
        """What its process used, once that has been measured."""
        self.left_nothing = False
        """Whether neither this attempt nor an earlier one can have left directories or a lock: nobody looks for them.
        Three looks took a fiftieth of a short job's time.
        """
        self.recorded: Job | None = None
        """The job after its end has been recorded."""
        self.stop_reason: StopReason | None = None
        self.exceeded: JobError | None = None
        """The limit that it has passed, if that is why it stops."""
        self.grace_s = 0.0
        self.settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the handler has ended, or has been asked to stop."""

    def stop(self, reason: StopReason, grace_s: float) -> None:
        """Ask the handler to stop within `grace_s` seconds. The first reason counts. Returns at once."""
        if self.stop_reason is None:
            self.stop_reason = reason
            self.grace_s = grace_s
            self.settle()
        elif reason is StopReason.SHUTDOWN:
            self.grace_s = min(self.grace_s, grace_s)

    def exceed(self, error: JobError, grace_s: float) -> None:
        """Ask the handler to stop because it has used more than it may."""
        self.exceeded = self.exceeded or error
        self.stop(StopReason.LIMIT, grace_s)

    def settle(self, _handler: object = None) -> None:
        """There is nothing more to wait for. Takes a task as the callbacks of tasks do."""
        if not self.settled.done():
            self.settled.set_result(None)

    def take_lines(self) -> list[NewLogLine]:
        """The log lines since the last call."""
        lines = self.logs.take()
        if lines:
            self.last_sign_s = steady_s()
        return lines

    def read_progress(self, every_s: float = 0.0, now_s: float | None = None) -> Progress | None:
        """New progress to publish, which is to happen every `every_s` seconds; `None` if there is none, or if it is too
        early. With 0 it never is: at the end.

        `now_s`: a reading of the monotonic clock, if there is one for many attempts.
        """
        if now_s is None:
            now_s = steady_s()
        if every_s and now_s < self.due_s:
            return None
        values = self.reported.take()
        if values is None:
            return None
        self.last_sign_s = now_s
        progress = self.meter.read(values, now_s)
        if progress == self.published and now_s - self.published_s < 1:
            return None
        self.published, self.published_s = progress, now_s
        self.due_s = max(self.due_s + every_s, now_s)
        return progress

    # What a child reports (`processes.conversation.Listening`)

    def began(self) -> None:
        """The handler has begun, or shows in another way that it is alive."""
        self.last_sign_s = steady_s()

    def progress(self, values: tuple[Any, ...]) -> None:
        self.reported.put(values)

    def log(self, line: NewLogLine) -> None:
        self.logs.relay(line)

    def dropped(self, lines: int) -> None:
        self.logs.limit.dropped += lines

    def used(self, usage: Usage) -> None:
        self.usage = usage

    def left(self, pids: Collection[int]) -> None:
        """Processes of the attempt could not be killed: the kernel holds them up, or they are another user's."""
        log.error("processes of an attempt could not be killed", pids=sorted(pids))
        named = ", ".join(map(str, sorted(pids)))
        self.logs.note("error", f"processes of this attempt could not be killed: {named}")
