"""The command line. aiohttp and the adapters are imported by the command that needs them, so `--help` is quick."""

import asyncio
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from pydantic import ValidationError

from ..domain.access import LOCAL_OWNER
from ..domain.jobs import TERMINAL, Status
from ..errors import HeadwayError
from ..settings import Settings

app = typer.Typer(
    name="headway",
    help="Headway: long-running work behind an HTTP API, with live progress.",
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

secrets = typer.Typer(help="What webhooks are signed with: their receivers need it.", no_args_is_help=True)
app.add_typer(secrets, name="secrets")
keys = typer.Typer(help="API keys: who may ask, and whose jobs they see.", no_args_is_help=True)
app.add_typer(keys, name="keys")

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
    insecure: Annotated[bool, typer.Option("--insecure", help="Let everybody in who reaches the server.")] = False,
    log_format: Annotated[str | None, typer.Option(help="'console' or 'json'. [default: console]")] = None,
) -> None:
    """Serve jobs over HTTP until SIGTERM or Ctrl-C."""
    settings = _settings(
        host=host,
        port=port,
        data_dir=data_dir,
        jobs=tuple(jobs) if jobs else None,
        max_running=max_running,
        insecure=insecure or None,
        log_format=log_format,
    )
    try:
        _run(settings)
    except HeadwayError as error:  # a store that cannot write at the start, say
        _fail(str(error))


DataDir = Annotated[str | None, typer.Option(help="The server's data directory. [default: headway-data]")]


@app.command()
def purge(
    older_than: Annotated[str, typer.Option(help="Ended at least so long ago: '90s', '12h', '30d'.")],
    status: Annotated[
        list[Status] | None, typer.Option(help="Only jobs that ended like this. Repeatable. [default: all that ended]")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many there are.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Delete ended jobs with their logs and files, also beside a running server."""
    statuses = status or sorted(TERMINAL)
    if not TERMINAL.issuperset(statuses):
        _fail("--status: only completed, failed and cancelled jobs can be purged")
    fields = {"older_than_s": _duration_s(older_than, "--older-than"), "statuses": statuses, "dry_run": dry_run}
    count = _operate(data_dir, "purge", fields)["jobs"]
    print(f"{count:,} {'jobs would be' if dry_run else 'jobs were'} deleted")  # noqa: T201


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="A new file for the copy.")],
    data_dir: DataDir = None,
) -> None:
    """Write a consistent copy of the record to FILE, also beside a running server. Files of jobs are not in it."""
    size = _operate(data_dir, "backup", {"path": str(file.resolve())})["bytes"]
    print(f"{size:,} bytes written to {file}")  # noqa: T201


@app.command()
def doctor(data_dir: DataDir = None) -> None:
    """Examine the record, the versions, the limits and the disk. Exit code 1 if something is wrong."""
    found = _operate(data_dir, "doctor", {})
    faults = found.pop("faults")
    for name, value in found.items():
        print(f"{name:>15}  {value:,}" if isinstance(value, int) else f"{name:>15}  {value}")  # noqa: T201
    print(f"{'integrity':>15}  {'damaged' if faults else 'ok'}")  # noqa: T201
    for fault in faults:
        print(f"{'':>15}  {fault}")  # noqa: T201
    raise SystemExit(1 if faults else 0)


Owner = Annotated[str, typer.Option(help="Whose jobs they are about.")]


@secrets.command("show")
def show_secrets(owner: Owner = LOCAL_OWNER, data_dir: DataDir = None) -> None:
    """Print the secrets that sign an owner's webhooks, the current one first."""
    _print_secrets(_operate(data_dir, "secrets show", {"owner": owner}))


@secrets.command("rotate")
def rotate_secret(
    owner: Owner = LOCAL_OWNER,
    overlap: Annotated[str, typer.Option(help="For so long the old one signs too: '0s', '24h', '7d'.")] = "24h",
    data_dir: DataDir = None,
) -> None:
    """Make a new secret, and print it with those that still sign beside it."""
    fields = {"owner": owner, "overlap_s": _duration_s(overlap, "--overlap")}
    _print_secrets(_operate(data_dir, "secrets rotate", fields))


def _print_secrets(answer: dict[str, Any]) -> None:
    for secret in answer["secrets"]:
        print(secret["secret"] + (f"  until {secret['until']}" if secret["until"] else ""))  # noqa: T201


@keys.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="What the key is called in lists.")],
    owner: Annotated[str | None, typer.Option(help="Whose its jobs are. [default: NAME]")] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="It looks, and changes nothing.")] = False,
    admin: Annotated[bool, typer.Option("--admin", help="It sees the jobs of all owners.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Make an API key and print it, this once. Also before the server's first start, and beside a running one."""
    fields = {"name": name, "owner": owner, "read_only": read_only, "admin": admin}
    made = _operate(data_dir, "keys create", fields)
    print(f"The key {name!r} for the jobs of {made['owner']!r}. It is not shown again:", file=sys.stderr)  # noqa: T201
    print(made["key"])  # noqa: T201


@keys.command("list")
def list_keys(data_dir: DataDir = None) -> None:
    """Show all keys, oldest first; never the keys themselves."""
    rows = [("NAME", "OWNER", "RIGHTS", "CREATED", "REVOKED")]
    for key in _operate(data_dir, "keys list", {})["keys"]:
        rights = [word for word, has in (("admin", key["admin"]), ("read-only", key["readOnly"])) if has]
        rows.append((key["name"], key["owner"], ", ".join(rights) or "-", key["createdAt"], key["revokedAt"] or "-"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())  # noqa: T201


@keys.command("revoke")
def revoke_key(
    name: Annotated[str, typer.Argument(help="The key's name.")],
    data_dir: DataDir = None,
) -> None:
    """Put a key out of force for good: what was opened with it ends at once."""
    _operate(data_dir, "keys revoke", {"name": name})
    print(f"The key {name!r} is out of force")  # noqa: T201


def _operate(data_dir: str | None, command: str, fields: dict[str, Any]) -> dict[str, Any]:
    from ..app import operate  # noqa: PLC0415 - see the module's first line
    from ..logs import configure_logging  # noqa: PLC0415

    configure_logging("console")
    try:
        return asyncio.run(operate(_settings(data_dir=data_dir), command, fields))
    except HeadwayError as error:
        _fail(str(error))


def _duration_s(text: str, option: str) -> float:
    """Seconds of '90s', '15m', '12h' or '30d'."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    if found is None:
        _fail(f"{option}: write a number and a unit, like 90s, 15m, 12h or 30d")
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86_400}[found[2]]


def _settings(**given: Any) -> Settings:
    """The settings, with the flags that were given; what is out of range is one line and exit 2."""
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        _fail(f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}")


def _run(settings: Settings) -> None:
    from ..app import Headway  # noqa: PLC0415
    from ..logs import configure_logging  # noqa: PLC0415 - see the module's first line
    from ..web.request_ids import add_request_id  # noqa: PLC0415

    configure_logging(settings.log_format, [add_request_id])
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(Headway(settings).serve(_announce))


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
