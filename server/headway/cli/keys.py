"""`headway keys`: API keys."""

import sys
from typing import Annotated

import typer

from .operator import operate
from .options import DataDir

commands = typer.Typer(help="API keys: who may use the server, and whose jobs they see.", no_args_is_help=True)


@commands.command()
def create(
    name: Annotated[str, typer.Argument(help="The key's name in lists.")],
    owner: Annotated[str | None, typer.Option(help="The owner of its jobs. (default: NAME)")] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="It reads jobs and changes nothing.")] = False,
    admin: Annotated[bool, typer.Option("--admin", help="It sees the jobs of all owners.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Create an API key and print it once. Works before the server's first start, and while it runs, too."""
    fields = {"name": name, "owner": owner, "read_only": read_only, "admin": admin}
    made = operate(data_dir, "keys create", fields)
    print(f"The key {name!r} for the jobs of {made['owner']!r}. It is not shown again:", file=sys.stderr)  # noqa: T201
    print(made["key"])  # noqa: T201


@commands.command("list")
def show(data_dir: DataDir = None) -> None:
    """List all keys by name, oldest first."""
    rows = [("NAME", "OWNER", "RIGHTS", "CREATED", "REVOKED")]
    for key in operate(data_dir, "keys list", {})["keys"]:
        rights = [word for word, has in (("admin", key["admin"]), ("read-only", key["readOnly"])) if has]
        rows.append((key["name"], key["owner"], ", ".join(rights) or "-", key["createdAt"], key["revokedAt"] or "-"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())  # noqa: T201


@commands.command()
def revoke(
    name: Annotated[str, typer.Argument(help="The key's name.")],
    data_dir: DataDir = None,
) -> None:
    """Revoke a key for good. Sessions, streams and tickets that were opened with it end at once."""
    operate(data_dir, "keys revoke", {"name": name})
    print(f"The key {name!r} was revoked")  # noqa: T201
