"""`headway purge`"""

from typing import Annotated

import typer

from ..domain.jobs import TERMINAL, Status
from .operator import operate
from .options import DataDir, seconds
from .printing import fail, show


def purge(
    older_than: Annotated[str, typer.Option(help="Only jobs that ended at least this long ago: '90s', '12h', '30d'.")],
    status: Annotated[
        list[Status] | None, typer.Option(help="Only jobs that ended in this state. Repeatable. (default: all three)")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print how many there are.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Delete ended jobs with their logs and files. Works while a server runs, too."""
    statuses = status or sorted(TERMINAL)
    if not TERMINAL.issuperset(statuses):
        fail("--status: only completed, failed and cancelled jobs can be purged")
    fields = {"older_than_s": seconds(older_than, "--older-than"), "statuses": statuses, "dry_run": dry_run}
    purged = operate(data_dir, "purge", fields)
    show(f"{purged['jobs']:,} {'jobs would be' if dry_run else 'jobs were'} deleted")
    if purged["leftFiles"]:
        fail(f"files of {purged['leftFiles']:,} of them could not be deleted: the log says which, and why")
