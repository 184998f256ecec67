"""`headway serve`"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Annotated

import typer

from ..errors import HeadwayError
from ..settings import EverydaySettings, Settings, separated_modules
from .options import make_settings
from .printing import fail

EVERYDAY = "Everyday settings"


def _variables(names: Iterable[str]) -> str:
    return ", ".join(f"HEADWAY_{name.upper()}" for name in names)


EPILOG = (
    "Every setting is also a variable in the environment.\n\n"
    f"Everyday settings: {_variables(EverydaySettings.model_fields)}.\n\n"
    f"Advanced settings: {_variables(sorted(Settings.model_fields.keys() - EverydaySettings.model_fields.keys()))}."
)


MoreJobs = Annotated[  # what is left of `--jobs jobs/*.py` when the shell has expanded it
    list[str] | None, typer.Argument(metavar="[JOBS]...", help="More modules, as for --jobs.", show_default=False)
]
Host = Annotated[str | None, typer.Option(help="Address to listen on. (default: 127.0.0.1)", rich_help_panel=EVERYDAY)]
Port = Annotated[int | None, typer.Option(help="Port; 0 takes a free one. (default: 8080)", rich_help_panel=EVERYDAY)]
DataDir = Annotated[
    str | None,
    typer.Option(
        help="Where jobs are kept; ':memory:' keeps nothing. (default: headway-data)", rich_help_panel=EVERYDAY
    ),
]
Jobs = Annotated[
    list[str] | None,
    typer.Option(
        help="Modules with your job types, by name or path: repeated, with commas, or as --jobs jobs/*.py.",
        rich_help_panel=EVERYDAY,
    ),
]
Samples = Annotated[
    bool | None,
    typer.Option(
        "--samples/--no-samples",
        help="Serve the sample job types. (default: only without --jobs)",
        rich_help_panel=EVERYDAY,
    ),
]
MaxTasks = Annotated[
    int | None,
    typer.Option(help="How many `async def` jobs may run at once. (default: 200)", rich_help_panel=EVERYDAY),
]
MaxProcesses = Annotated[
    int | None,
    typer.Option(
        help="How many `def` jobs, each in a process, may run at once. (default: one per core)",
        rich_help_panel=EVERYDAY,
    ),
]
MaxRunning = Annotated[str | None, typer.Option(hidden=True)]
Insecure = Annotated[bool, typer.Option("--insecure", help="Serve without API keys.", rich_help_panel=EVERYDAY)]
LogFormat = Annotated[
    str | None, typer.Option(help="'console' or 'json'. (default: console)", rich_help_panel=EVERYDAY)
]


def serve(  # noqa: PLR0913, PLR0917 - typer takes a flag from each parameter
    more_jobs: MoreJobs = None,
    host: Host = None,
    port: Port = None,
    data_dir: DataDir = None,
    jobs: Jobs = None,
    samples: Samples = None,
    max_tasks: MaxTasks = None,
    max_processes: MaxProcesses = None,
    max_running: MaxRunning = None,
    insecure: Insecure = False,
    log_format: LogFormat = None,
) -> None:
    """Serve jobs over HTTP until SIGTERM or Ctrl-C."""
    settings = make_settings(
        host=host,
        port=port,
        data_dir=data_dir,
        jobs=modules([*(jobs or ()), *(more_jobs or ())]),
        samples=samples,
        max_tasks=max_tasks,
        max_processes=max_processes,
        max_running=max_running,
        insecure=insecure or None,
        log_format=log_format,
    )
    try:
        _run(settings)
    except HeadwayError as error:  # a store that cannot be written at the start, say
        fail(str(error))


def modules(given: list[str]) -> tuple[str, ...] | None:
    """The modules that are named in what was given; `None` for none. Exits if a name cannot be one."""
    try:
        return tuple(module for text in given for module in separated_modules(text)) or None
    except ValueError as error:
        fail(f"--jobs: {error}")


def _run(settings: Settings) -> None:
    from ..app.preparing import prepare  # noqa: PLC0415 - `--help` is quick without it
    from ..logs import configure_logging  # noqa: PLC0415

    configure_logging(settings.log_format)
    prepared = prepare(settings)

    from ..app import Headway  # noqa: PLC0415 - aiohttp and the adapters, which job processes do without
    from ..app.main_loop import serve_to_end  # noqa: PLC0415
    from ..web.request_ids import add_request_id  # noqa: PLC0415

    configure_logging(settings.log_format, [add_request_id])
    server = Headway(prepared=prepared)
    serve_to_end(server.serve(announce), loop_factory())


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Prefer uvloop where it is installed."""
    try:
        import uvloop  # noqa: PLC0415
    except ImportError:
        return None
    return uvloop.new_event_loop


def announce(address: str) -> None:
    """The first line on stdout, for people and for programs that start a server."""
    print(f"Listening on {address}", flush=True)  # noqa: T201
