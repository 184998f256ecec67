"""Bars: a job in a notebook, and what `watch` shows in a terminal or a notebook, by rich or by tqdm."""

from contextlib import AbstractContextManager
from html import escape
from importlib import import_module
from types import TracebackType
from typing import Any, Literal, Protocol, Self

from .events import Event, LogEvent, StateEvent
from .states import JobState, LogLine

BarKind = Literal["rich", "tqdm"]


def bundle(state: JobState) -> dict[str, str]:
    """A job by media type, as notebooks ask for it (`_repr_mimebundle_`)."""
    value = "" if state.progress is None else f' value="{state.progress:g}"'
    label = escape(title(state))
    html = (
        f'<div style="display: flex; gap: 0.6em; align-items: center; font-family: sans-serif; font-size: 90%">'
        f"<b>{label}</b>"
        f'<progress max="100"{"" if state.ended and not value else value} aria-label="{label}" style="width: 16em">'
        f"</progress><span>{escape(words(state))}</span></div>"
    )
    return {"text/html": html, "text/plain": f"{title(state)}: {words(state)}"}


def title(state: JobState) -> str:
    """What a bar is called."""
    return f"{state.type} · {state.label}" if state.label else state.type


def words(state: JobState) -> str:
    """What stands beside a bar: `45.2 % · 420/1000 rows · aggregating · 12 s left`."""
    if state.error is not None:
        detail = f": {state.error.detail}" if state.error.detail else ""
        return f"failed · {state.error.title}{detail}"
    parts = [state.status if state.ended or state.progress is None else f"{state.progress:g} %"]
    if state.done is not None and state.total is not None:
        parts.append(f"{state.done:g}/{state.total:g} {state.unit or ''}".rstrip())
    parts += [part for part in (state.step, state.message) if part]
    if state.eta_s is not None and not state.ended:
        parts.append(f"{state.eta_s} s left")
    return " · ".join(parts)


# In a notebook


class NotebookDisplay:
    """The places of a notebook in which one job is shown: all of them show the newest state."""

    def __init__(self, job_id: str) -> None:
        self._id = f"headway-{job_id}"
        self.live = False
        """Whether it has a place that can be updated."""

    def show(self, state: JobState) -> bool:
        """Show it in one more place. Returns whether that is the first one that can be updated."""
        if not _in_a_kernel():
            _display().display(bundle(state), raw=True)
            return False
        first, self.live = not self.live, True
        _display().display(bundle(state), raw=True, display_id=self._id)
        return first

    def update(self, state: JobState) -> None:
        """Show a state everywhere, also if another thread has shown it: a notebook that is run by a program takes only
        what the cell sends that is running.
        """
        if self.live:
            _display().update_display(bundle(state), raw=True, display_id=self._id)


def _display() -> Any:
    """IPython's module, which is there if a job is shown in a notebook."""
    return import_module("IPython.display")


def _in_a_kernel() -> bool:
    """Whether what is displayed can be updated: a terminal would print it again and again."""
    return hasattr(import_module("IPython").get_ipython(), "kernel")


# In a terminal


class Bar(AbstractContextManager["Bar"], Protocol):
    """Shows one job while it is followed."""

    def update(self, state: JobState) -> None: ...

    def log(self, line: LogLine) -> None:
        """Show a line of the log above the bar."""


def show_event(bar: Bar, event: Event) -> None:
    """Bring a bar up to date."""
    if isinstance(event, StateEvent):
        bar.update(event.state)
    elif isinstance(event, LogEvent):
        bar.log(event.line)


def bar_of(kind: BarKind, state: JobState) -> Bar:
    """A bar of this kind. Raises `ImportError` if its library is not installed, `ValueError` for another kind."""
    if kind == "rich":
        return _RichBar(state)
    if kind == "tqdm":
        return _TqdmBar(state)
    raise ValueError(f"{kind!r} is no kind of bar: it must be 'rich' or 'tqdm'")


class _RichBar:
    def __init__(self, state: JobState) -> None:
        progress = import_module("rich.progress")
        self._text = import_module("rich.text").Text
        columns = (progress.TextColumn("{task.description}", markup=False), progress.BarColumn())
        self._progress = progress.Progress(*columns, progress.TextColumn("{task.fields[words]}", markup=False))
        self._task = self._progress.add_task(title(state), total=None, words=words(state))
        self.update(state)

    def update(self, state: JobState) -> None:
        total = None if state.progress is None and not state.ended else 100
        self._progress.update(self._task, completed=state.progress or 0, total=total, words=words(state))

    def log(self, line: LogLine) -> None:
        self._progress.console.print(self._text(f"{line.level}: {line.message}"))

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()


class _TqdmBar:
    """In a notebook it is tqdm's own widget, if ipywidgets is installed."""

    def __init__(self, state: JobState) -> None:
        self._tqdm: Any = import_module("tqdm.auto").tqdm
        form = "{desc}: {percentage:5.1f} %|{bar}| {postfix}"
        self._bar = self._tqdm(total=100, desc=title(state), bar_format=form)
        self.update(state)

    def update(self, state: JobState) -> None:
        self._bar.n = state.progress or 0
        self._bar.set_postfix_str(words(state), refresh=False)
        self._bar.refresh()

    def log(self, line: LogLine) -> None:
        self._tqdm.write(f"{line.level}: {line.message}", file=self._bar.fp)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.close()
