"""What happens to a job, as `Job.events` yields it."""

from dataclasses import dataclass

from .states import JobState, LogLine


@dataclass(frozen=True)
class StateEvent:
    """A newer state of the job. The last one that is yielded has ended. States in between may be left out."""

    state: JobState


@dataclass(frozen=True)
class LogEvent:
    """A line of the log. None is left out, but for those before the last 200 when watching begins."""

    line: LogLine


@dataclass(frozen=True)
class ResetEvent:
    """The server no longer knows where watching was: the log starts over with its last 200 lines."""


Event = StateEvent | LogEvent | ResetEvent
