"""What several commands take, and how a wrong value is refused: one line on stderr and exit code 2."""

import re
import sys
from collections.abc import Sequence
from typing import Annotated, Any, NoReturn, TextIO

import typer
from pydantic import ValidationError

from ..errors import SetupError
from ..settings import DAY_S, PREFIX, Settings
from ..text import terminal_text

LONGEST_S = 36_500 * DAY_S
"""A century. Python's clock begins in the year 1."""
LINE_CHARS = 4_000
CELL_CHARS = 200
"""What a cell of a printed table shows; every name that is accepted is shorter."""

DataDir = Annotated[str | None, typer.Option(help="The server's data directory. (default: headway-data)")]


def make_settings(**given: Any) -> Settings:
    """The settings, with the flags that were given. Exits if one is out of range or no longer exists."""
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except SetupError as error:
        fail(str(error))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0])
        source = f"{PREFIX}{name.upper()}" if given.get(name) is None else f"--{name.replace('_', '-')}"
        fail(f"{source}: {first['msg'].removeprefix('Value error, ')}")


def seconds(text: str, option: str) -> float:
    """Seconds of '90s', '15m', '12h' or '30d'. Exits if `text` is none of these."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    if found is None:
        fail(f"{option}: write a number and a unit, like 90s, 15m, 12h or 30d")
    given_s = float(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86_400}[found[2]]
    if given_s > LONGEST_S:
        fail(f"{option}: at most {LONGEST_S // DAY_S}d")
    return given_s


def fail(message: str) -> NoReturn:
    """End the process with a line for the operator."""
    show(f"headway: {message}", sys.stderr)
    raise SystemExit(2)


def show(line: str, file: TextIO | None = None) -> None:
    """Print a line, by default to stdout.

    A name, a path or a damaged record can hold any text. A terminal would obey escape sequences in it, and stdout
    refuses surrogates.
    """
    print(terminal_text(line, LINE_CHARS), file=file or sys.stdout, flush=True)


def show_table(rows: Sequence[tuple[str, ...]]) -> None:
    """Print rows, the first of which are headings, in columns."""
    rows = [tuple(terminal_text(cell, CELL_CHARS) for cell in row) for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        show("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
