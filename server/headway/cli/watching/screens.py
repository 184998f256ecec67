"""What watching prints where there is no terminal: lines for people, JSON for programs, or nothing."""

from types import TracebackType
from typing import Protocol, Self

from ...client import JobState, LogLine
from ..jobs.wording import details, percent
from ..printing import show, show_json

STEP_PERCENT = 10


class Screen(Protocol):
    """Where jobs are shown. A context manager: at its end, a terminal is as it was."""

    shows_reasons: bool
    """Whether it shows in full why a job has failed."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def see(self, state: JobState) -> None:
        """A newer state of a job."""

    def log(self, job_id: str, line: LogLine) -> None:
        """A line of its log."""

    async def draw_until_cancelled(self) -> None:
        """For a screen that is drawn at its own pace."""


class QuietScreen:
    """Shows nothing."""

    shows_reasons = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass

    def see(self, state: JobState) -> None:
        pass

    def log(self, job_id: str, line: LogLine) -> None:
        pass

    async def draw_until_cancelled(self) -> None:
        pass


class JsonScreen(QuietScreen):
    """A JSON document for each state, which has a `status`, and for each line of a log, which has a `level`."""

    shows_reasons = True

    def __init__(self) -> None:
        self._versions: dict[str, int] = {}

    def see(self, state: JobState) -> None:
        if state.version > self._versions.get(state.id, -1):
            self._versions[state.id] = state.version
            show_json(state.raw)

    def log(self, job_id: str, line: LogLine) -> None:
        at = line.at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        show_json({"jobId": job_id, "seq": line.seq, "at": at, "level": line.level, "message": line.message})


class LineScreen(QuietScreen):
    """A line when a job starts, at each 10 %, at its end, and for each line of its log."""

    shows_reasons = True

    def __init__(self, names: dict[str, str]) -> None:
        self._names = names
        self._shown: dict[str, tuple[str, int, int]] = {}

    def see(self, state: JobState) -> None:
        mark = (state.status, state.attempt, int((state.progress or 0) // STEP_PERCENT))
        if self._shown.get(state.id) == mark:
            return
        self._shown[state.id] = mark
        done = f"{percent(state)} " if state.status == "running" and state.progress is not None else ""
        show(f"{self._names[state.id]}: {done}{details(state)}")

    def log(self, job_id: str, line: LogLine) -> None:
        show(f"{self._names[job_id]} | {log_text(line)}")


def log_text(line: LogLine) -> str:
    """A line of a log, with its level if that says something."""
    return line.message if line.level == "info" else f"{line.level}: {line.message}"
