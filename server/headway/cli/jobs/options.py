"""Options that the commands for jobs share, and arguments that are read from stdin instead."""

import sys
from typing import Annotated

import typer

from ..printing import fail

Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        help="The server. (default: HEADWAY_URL, your login, or the server of the data directory here)",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one document a line.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print less: see above, and the exit status tells.")]
Ids = Annotated[list[str], typer.Argument(metavar="ID...", help="Jobs by their ids; - reads them from stdin.")]


def ids_of(given: list[str]) -> list[str]:
    """The ids in order, each once; `-` stands for those on stdin. Exits if there are none."""
    ids: list[str] = []
    for argument in given:
        ids += sys.stdin.read().split() if argument == "-" else [argument]
    if not ids:
        fail("there are no ids on stdin")
    return list(dict.fromkeys(ids))
