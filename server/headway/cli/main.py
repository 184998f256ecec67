"""The command line: puts the commands together, and runs `serve` if none is given."""

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from . import audit, backup, dev, doctor, keys, purge, secrets, serve, usage
from .options import fail

DEFAULT_COMMAND = "serve"

app = typer.Typer(
    name="headway",
    help="Headway: long-running work behind an HTTP API, with live progress.",
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"headway {version('headway')}")  # noqa: T201
        raise typer.Exit


@app.callback()
def _group(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Without a command, `serve` is meant."""


app.command(epilog=serve.EPILOG)(serve.serve)
app.command(epilog=dev.EPILOG)(dev.dev)
app.command()(purge.purge)
app.command()(audit.audit)
app.command()(backup.backup)
app.command()(doctor.doctor)
app.command()(usage.usage)
app.command()(usage.quota)
app.add_typer(keys.commands, name="keys")
app.add_typer(secrets.commands, name="secrets")


def main() -> None:
    """Run the command that the arguments name; without one, `serve`."""
    arguments = sys.argv[1:]
    for argument in arguments:
        if any("\ud800" <= character <= "\udfff" for character in argument):  # bytes that are no UTF-8 (PEP 383)
            fail(f"{argument}: an argument must be UTF-8")
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help", "--version")):
        arguments = [DEFAULT_COMMAND, *arguments]
    app(arguments, prog_name=Path(sys.argv[0]).name)
