"""Bars in a terminal: one for each job, rendered by rich, and the lines of their logs above them.

A frame is written over the one before it, in one write: nothing is cleared that is drawn again, so nothing flickers.
"""

import asyncio
import math
import shutil
import sys
import time
from types import TracebackType
from typing import Self

from rich.cells import cell_len
from rich.console import Console
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ...client import JobState, LogLine
from ...text import terminal_text
from ..jobs.wording import details, percent
from ..printing import LINE_CHARS
from .screens import log_text

FRAME_S = 0.25
SECOND_S = 1.0
"""Elapsed times change so often, also if nothing is reported."""
HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
ERASE_TO_END_OF_LINE, ERASE_BELOW = "\x1b[K", "\x1b[J"
MOST_NAME_CHARS, LEAST_NAME_CHARS = 28, 8
MOST_BAR_CHARS, LEAST_BAR_CHARS = 30, 8
PERCENT_CHARS = 4
STYLES = {"queued": "dim", "running": "cyan", "completed": "green", "failed": "red", "cancelled": "yellow"}
RANK = {"running": 0, "queued": 1}
"""Which jobs are shown if there is no room for all: those that run, then those that wait."""


class BarScreen:
    """The frame at the bottom, and the lines above it that are not on the screen yet."""

    shows_reasons = False

    def __init__(self, names: dict[str, str], states: list[JobState]) -> None:
        self._names = {job_id: terminal_text(name, LINE_CHARS) for job_id, name in names.items()}
        self._states = {state.id: state for state in states}
        self._above: list[str] = []
        self._drawn: list[str] = []
        """The lines of the last frame."""
        self._columns = 0
        """How wide the terminal was then."""
        self._changed = True
        self._drawn_at_s = -math.inf

    def __enter__(self) -> Self:
        self._write(HIDE_CURSOR)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.draw()
        self._write(SHOW_CURSOR)

    def see(self, state: JobState) -> None:
        self._states[state.id] = state
        self._changed = True

    def log(self, job_id: str, line: LogLine) -> None:
        name = f"{self._names[job_id]} | " if len(self._names) > 1 else ""
        self._above.append(name + terminal_text(log_text(line), LINE_CHARS))
        self._changed = True

    async def draw_until_cancelled(self) -> None:
        while True:
            if self._changed or time.monotonic() - self._drawn_at_s >= SECOND_S:
                self.draw()
            await asyncio.sleep(FRAME_S)

    def draw(self) -> None:
        """Write the lines above, then the frame, over the last one."""
        columns, rows = shutil.get_terminal_size()
        frame = self._frame(max(columns - 1, 1), max(rows - 1, 1))  # a full line would make some terminals wrap
        up = len(self._drawn) if columns == self._columns else self._rows_in(columns)
        lines = [f"{line}{ERASE_TO_END_OF_LINE}\n" for line in (*self._above, *frame)]
        home = f"\r\x1b[{up}A" if up else "\r"
        self._write(home + "".join(lines) + (ERASE_BELOW if up > len(lines) else ""))
        self._drawn, self._columns = frame, columns
        self._above.clear()
        self._changed, self._drawn_at_s = False, time.monotonic()

    def _rows_in(self, columns: int) -> int:
        """How many rows the last frame has, now that the terminal has another width: a narrower one has wrapped it."""
        cells = [cell_len(Text.from_ansi(line).plain) for line in self._drawn]
        return sum(max(1, math.ceil(each / columns)) for each in cells)

    def _frame(self, columns: int, rows: int) -> list[str]:
        """The lines of a frame, with their colors."""
        states = list(self._states.values())
        shown, left = states, 0
        if len(states) > rows:
            shown = sorted(states, key=lambda state: RANK.get(state.status, len(RANK)))[: rows - 1]
            left = len(states) - len(shown)
        console = Console(width=columns, file=sys.stdout, force_terminal=True, highlight=False, markup=False)
        with console.capture() as captured:
            console.print(self._table(shown, columns))
            if left:
                console.print(Text(f"and {left:,} more", "dim"))
        return [line.rstrip() for line in captured.get().splitlines()]

    def _table(self, states: list[JobState], columns: int) -> Table:
        longest = max((cell_len(self._names[state.id]) for state in states), default=0)
        name_chars = min(longest, max(LEAST_NAME_CHARS, min(MOST_NAME_CHARS, columns // 4)))
        bar_chars = max(LEAST_BAR_CHARS, min(MOST_BAR_CHARS, columns // 4))
        rest = max(1, columns - name_chars - bar_chars - PERCENT_CHARS - 3)  # with a space between two
        table = Table.grid(padding=(0, 1, 0, 0))
        for width in (name_chars, bar_chars, PERCENT_CHARS, rest):
            table.add_column(width=width, no_wrap=True, overflow="ellipsis")
        for state in states:
            style = STYLES[state.status]
            said = terminal_text(details(state), LINE_CHARS)
            table.add_row(
                Text(self._names[state.id]),
                _bar(state, bar_chars, style),
                Text(f"{percent(state):>{PERCENT_CHARS}}"),
                Text(said, style if state.ended or state.status == "queued" else ""),
            )
        return table

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


def _bar(state: JobState, width: int, style: str) -> ProgressBar:
    """A bar; while the progress is not known, it is empty for a queued job and moves for a running one."""
    moving = state.progress is None and state.status == "running"
    return ProgressBar(
        total=100,
        completed=state.progress or 0,
        width=width,
        pulse=moving,
        style="dim",
        complete_style=style,
        finished_style=style,
        pulse_style=style,
    )
