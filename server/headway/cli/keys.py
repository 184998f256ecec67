"""`headway keys`: API keys."""

import sys
from typing import Annotated

import typer

from .operator import operate
from .options import DataDir
from .printing import show, show_table

commands = typer.Typer(
    help="API keys: who may use the server, and whose jobs they see.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@commands.command()
def create(
    name: Annotated[str, typer.Argument(help="The key's name in lists.")],
    owner: Annotated[str | None, typer.Option(help="The owner of its jobs. (default: NAME)")] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="It reads jobs and changes nothing.")] = False,
    admin: Annotated[bool, typer.Option("--admin", help="It sees the jobs of all owners.")] = False,
    work: Annotated[
        list[str] | None, typer.Option(help="A job type that workers with it may do; * for all. Repeatable.")
    ] = None,
    quota: Annotated[
        str, typer.Option(help="What may be submitted with it: jobs=1000,bytes=5GB,queued=100, or some of these.")
    ] = "none",
    data_dir: DataDir = None,
) -> None:
    """Create an API key and print it once. Works before the server's first start, and while it runs, too."""
    fields = {"name": name, "owner": owner, "read_only": read_only, "admin": admin, "works_on": work or []}
    made = operate(data_dir, "keys create", {**fields, "quota": quota})
    show(f"The key {name!r} for the jobs of {made['owner']!r}. It is not shown again:", sys.stderr)
    show(made["key"])


@commands.command("list")
def list_keys(data_dir: DataDir = None) -> None:
    """List all keys by name, oldest first."""
    rows = [("NAME", "ID", "OWNER", "RIGHTS", "QUOTA", "CREATED", "REVOKED")]
    for key in operate(data_dir, "keys list", {})["keys"]:
        rights = [word for word, has in (("admin", key["admin"]), ("read-only", key["readOnly"])) if has]
        rights += [f"work:{job_type}" for job_type in key["worksOn"]]
        limits = "-" if key["quota"] == "none" else key["quota"]
        dates = (key["createdAt"], key["revokedAt"] or "-")
        rows.append((key["name"], key["id"], key["owner"], ", ".join(rights) or "-", limits, *dates))
    show_table(rows)


@commands.command("quota")
def set_quota(
    name: Annotated[str, typer.Argument(help="The key's name.")],
    limits: Annotated[str, typer.Argument(help="Such as jobs=1000,bytes=5GB,queued=100; or none.")],
    data_dir: DataDir = None,
) -> None:
    """Limit what is submitted with a key, from now on. The owner's quota counts this, too. Jobs that run go on."""
    operate(data_dir, "keys quota", {"name": name, "quota": limits})
    show(f"The quota of the key {name!r} is {limits}")


@commands.command()
def revoke(
    name: Annotated[str, typer.Argument(help="The key's name.")],
    data_dir: DataDir = None,
) -> None:
    """Revoke a key for good. Sessions, streams and tickets that were opened with it end at once."""
    operate(data_dir, "keys revoke", {"name": name})
    show(f"The key {name!r} was revoked")
