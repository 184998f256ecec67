"""What both kinds of job have: the id, and the last known state."""

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from .bars import NotebookDisplay, bundle
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
        self._display: NotebookDisplay | None = None

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
            if self._display is not None:
                self._display.update(state)
        return self.state

    def _see_event(self, event: Event) -> Event:
        if isinstance(event, StateEvent):
            self._see(event.state)
        return event

    def _moves_by_waiting(self, timeout_s: float | None) -> bool:
        """Whether who waits should follow the job, because a notebook shows it."""
        return self._display is not None and self._display.live and timeout_s is None and not self.state.ended

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        """The job as a bar, for notebooks."""
        return bundle(self.state)

    def _ipython_display_(self) -> None:
        """Shows the job as a bar that moves until the job has ended."""
        self._display = self._display or NotebookDisplay(self.id)
        if self._display.show(self.state) and not self.state.ended:
            self._keep_displayed()

    def _keep_displayed(self) -> None:
        """Follow the job in the background: each state that is seen is shown."""
        raise NotImplementedError
