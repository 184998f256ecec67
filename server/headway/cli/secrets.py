"""`headway secrets`: the secrets that sign webhooks."""

from typing import Annotated, Any

import typer

from ..domain.access import LOCAL_OWNER
from .operator import operate
from .options import DataDir, seconds
from .printing import show

commands = typer.Typer(
    help="The secrets that sign webhooks. Receivers need them.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

Owner = Annotated[str, typer.Option(help="The owner of the jobs that the webhooks report.")]


@commands.command("show")
def show_secrets(owner: Owner = LOCAL_OWNER, data_dir: DataDir = None) -> None:
    """Print the secrets that sign an owner's webhooks, the current one first."""
    _print(operate(data_dir, "secrets show", {"owner": owner}))


@commands.command()
def rotate(
    owner: Owner = LOCAL_OWNER,
    overlap: Annotated[
        str, typer.Option(help="How long the old secret keeps signing as well: '0s', '24h', '7d'.")
    ] = "24h",
    data_dir: DataDir = None,
) -> None:
    """Create a new secret, and print it along with those that still sign."""
    _print(operate(data_dir, "secrets rotate", {"owner": owner, "overlap_s": seconds(overlap, "--overlap")}))


def _print(answer: dict[str, Any]) -> None:
    for secret in answer["secrets"]:
        show(secret["secret"] + (f"  until {secret['until']}" if secret["until"] else ""))
