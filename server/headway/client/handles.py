"""What both kinds of job have: the id, and the last known state."""

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from .calls import Calls
from .events import Event, StateEvent
from .states import JobError, JobState, Status

ResultT = TypeVar("ResultT")


class JobHandle(Generic[ResultT]):
    """A job on a server. `state` is what was last seen of it: reading an attribute asks nobody."""

    def __init__(self, calls: Calls, state: JobState, model: Any) -> None:
        self._calls = calls
        self._model = model
        self.state = state

    def __repr__(self) -> str:
        percent = "" if self.progress is None else f" {self.progress:g}%"
        return f"<{type(self).__name__} {self.id} {self.type} {self.status}{percent}>"

    @property
    def id(self) -> str:
        return self.state.id

    @property
    def type(self) -> str:
        return self.state.type

    @property
    def status(self) -> Status:
        return self.state.status

    @property
    def progress(self) -> float | None:
        """Percent, `None` while it is not known."""
        return self.state.progress

    @property
    def label(self) -> str | None:
        return self.state.label

    @property
    def metadata(self) -> Mapping[str, str]:
        return self.state.metadata

    @property
    def error(self) -> JobError | None:
        """Why it failed."""
        return self.state.error

    def _see(self, state: JobState) -> JobState:
        """Remember a state, unless a newer one is known: answers and streams overtake each other."""
        if state.version >= self.state.version:
            self.state = state
        return self.state

    def _see_event(self, event: Event) -> Event:
        if isinstance(event, StateEvent):
            self._see(event.state)
        return event
