"""What commands print: lines, tables and JSON on stdout, and one line on stderr for what is wrong."""

import json
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn, TextIO

from ..text import terminal_text

LINE_CHARS = 4_000
CELL_CHARS = 200
"""What a cell of a printed table shows; every name that is accepted is shorter."""
USAGE = 2

GREEN, RED, YELLOW, CYAN, DIM = 32, 31, 33, 36, 2
OF_STATUS = {"queued": DIM, "running": CYAN, "completed": GREEN, "failed": RED, "cancelled": YELLOW}
"""Colors by a job's status, as parameters of SGR (ECMA-48, 8.3.117)."""


def fail(message: str, status: int = USAGE) -> NoReturn:
    """End the process with a line on stderr."""
    show(f"headway: {message}", sys.stderr)
    raise SystemExit(status)


def show(line: str, file: TextIO | None = None) -> None:
    """Print a line, by default to stdout.

    A name, a path or a damaged record can hold any text. A terminal would obey escape sequences in it, and stdout
    refuses surrogates.
    """
    write(terminal_text(line, LINE_CHARS), file)


def write(line: str, file: TextIO | None = None) -> None:
    """Print a line that has passed the gate for text."""
    print(line, file=file or sys.stdout, flush=True)


def show_table(rows: Sequence[tuple[str, ...]], most_columns: int | None = None) -> None:
    """Print rows, the first of which are headings, in columns.

    With `most_columns`, lines are cut to the terminal's width. A cell that is a job's status has its color.
    """
    rows = [tuple(terminal_text(cell, CELL_CHARS) for cell in row) for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    colored = has_colors()
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        if most_columns is not None and len(line) > most_columns:
            line = line[: most_columns - 1] + "…"
        for status in {cell for cell in row if cell in OF_STATUS} if colored else ():
            line = line.replace(f"  {status}", f"  {painted(status, OF_STATUS[status])}", 1)
        write(line)


def show_json(document: Any) -> None:
    """Print a JSON document as one line. What is not ASCII is escaped, so no terminal obeys it."""
    write(json.dumps(document, separators=(",", ":")))


def has_colors(file: TextIO | None = None) -> bool:
    """Whether to color: only for a terminal, and not against NO_COLOR (no-color.org)."""
    return (file or sys.stdout).isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def painted(text: str, parameter: int) -> str:
    """`text` with a color or another rendition."""
    return f"\x1b[{parameter}m{text}\x1b[0m"
