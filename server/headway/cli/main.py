"""The command line: puts the commands together, and runs `serve` if none is given."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from .lazy import LazyGroup, print_version
from .printing import fail

DEFAULT_COMMAND = "serve"
COMPLETE_VARIABLE = "_HEADWAY_COMPLETE"
"""Set by the scripts that `headway completion` prints."""

app = typer.Typer(
    name="headway",
    help="Headway: long-running work behind an HTTP API, with live progress.",
    epilog="Without a command, `serve` is meant.  Example:  headway submit ping message=hello --watch",
    cls=LazyGroup,
    add_completion=False,
    rich_markup_mode=None,  # rich takes longer to import than everything that `--help` needs
    pretty_exceptions_enable=False,
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _group(
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None: ...


def main() -> None:
    """Run the command that the arguments name; without one, `serve`."""
    arguments = sys.argv[1:]
    for argument in arguments:
        if any("\ud800" <= character <= "\udfff" for character in argument):  # bytes that are no UTF-8 (PEP 383)
            fail(f"{argument}: an argument must be UTF-8")
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help", "--version")):
        arguments = [DEFAULT_COMMAND, *arguments]
    if COMPLETE_VARIABLE in os.environ:
        from typer._completion_classes import completion_init  # noqa: PLC0415 - typer exports it nowhere

        completion_init()
    app(arguments, prog_name=Path(sys.argv[0]).name, complete_var=COMPLETE_VARIABLE)
