"""The command line. aiohttp and the adapters are imported by the command that needs them, so `--help` is quick."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from pydantic import ValidationError

from .errors import SetupError
from .settings import Settings

app = typer.Typer(
    name="headway",
    help="Headway: long-running work behind an HTTP API, with live progress.",
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

DEFAULT_COMMAND = "serve"


@app.callback()
def _group() -> None:
    """Without a command, `serve` is meant."""


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on. [default: 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one. [default: 8080]")] = None,
    data_dir: Annotated[
        str | None,
        typer.Option(help="Where jobs are kept; ':memory:' keeps nothing. [default: headway-data]"),
    ] = None,
    jobs: Annotated[
        list[str] | None,
        typer.Option(help="A module with job types of yours, by name or path. Repeatable."),
    ] = None,
    max_running: Annotated[int | None, typer.Option(help="How many jobs may run at once.")] = None,
    log_format: Annotated[str | None, typer.Option(help="'console' or 'json'. [default: console]")] = None,
) -> None:
    """Serve jobs over HTTP until SIGTERM or Ctrl-C."""
    given = {
        "host": host,
        "port": port,
        "data_dir": data_dir,
        "jobs": tuple(jobs) if jobs else None,
        "max_running": max_running,
        "log_format": log_format,
    }
    try:
        settings = Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        _fail(f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}")
    try:
        _run(settings)
    except SetupError as error:
        _fail(str(error))


def _run(settings: Settings) -> None:
    from .bootstrap import configure_logging  # noqa: PLC0415 - see the module's first line
    from .bootstrap import serve as serve_until_stopped  # noqa: PLC0415

    configure_logging(settings.log_format)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(serve_until_stopped(settings, _announce))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Prefer uvloop where it is installed, else asyncio's own loop."""
    try:
        import uvloop  # noqa: PLC0415
    except ImportError:
        return None
    return uvloop.new_event_loop


def _announce(address: str) -> None:
    """The first line on stdout, for people and for the programs that start us."""
    print(f"Listening on {address}", flush=True)  # noqa: T201


def _fail(message: str) -> NoReturn:
    print(f"headway: {message}", file=sys.stderr)  # noqa: T201
    raise SystemExit(2)


def main() -> None:
    """Run the command that the arguments name; without one, `serve`."""
    arguments = sys.argv[1:]
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help")):
        arguments = [DEFAULT_COMMAND, *arguments]
    app(arguments, prog_name=Path(sys.argv[0]).name)
