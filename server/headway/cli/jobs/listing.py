"""`headway list`"""

import shutil
import sys
from typing import Annotated

import typer

from ...client import JobState
from ...domain.jobs import Status
from ..printing import fail, show, show_json, show_table
from .connecting import connected
from .durations import instant_of
from .options import AsJson, Quiet, Url
from .wording import age, percent

HEADINGS = ("ID", "STATUS", "DONE", "TYPE", "AGE", "LABEL")


def list_jobs(  # noqa: PLR0913, PLR0917 - typer takes a flag from each parameter
    status: Annotated[list[Status] | None, typer.Option(help="Only jobs in this state. Repeatable.")] = None,
    job_type: Annotated[
        list[str] | None, typer.Option("--type", metavar="TYPE", help="Only of this type. Repeatable.")
    ] = None,
    label: Annotated[str | None, typer.Option(help="Only with this label.")] = None,
    search: Annotated[str | None, typer.Option(metavar="WORDS", help="Only with these in label or message.")] = None,
    metadata: Annotated[
        list[str] | None, typer.Option(metavar="KEY=TEXT", help="Only with this metadata. Repeatable.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="WHEN", help="Only submitted since: 2h (ago), or 2026-03-01T12:00:00Z.")
    ] = None,
    sort: Annotated[str | None, typer.Option(help="As in the HTTP guide: createdAt, -updatedAt, ….")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    url: Url = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """List jobs, newest first.

    --quiet prints nothing but ids, for other commands to read.
    """
    pairs = dict(each.partition("=")[::2] for each in metadata or [])
    if any("=" not in each for each in metadata or []):
        fail("--metadata: write key=text")
    created_after = None if since is None else instant_of(since, "--since", direction=-1)
    with connected(url) as client:
        found = client.jobs(
            limit=limit,
            status=list(status or []) or None,
            type=job_type or None,
            label=label,
            q=search,
            metadata=pairs,
            created_after=created_after,
            sort=sort,
        )
        rows: list[tuple[str, ...]] = [HEADINGS]
        for job in found:
            if as_json:
                show_json(job.state.raw)
            elif quiet:
                show(job.id)
            else:
                rows.append(row_of(job.state))
    if not as_json and not quiet:
        _show(rows)


def row_of(state: JobState) -> tuple[str, ...]:
    return (state.id, state.status, percent(state) or "-", state.type, age(state.created_at), state.label or "")


def _show(rows: list[tuple[str, ...]]) -> None:
    """The table; in a terminal no line is longer than it is wide."""
    if len(rows) == 1:
        show("There are no such jobs.", sys.stderr)
        return
    show_table(rows, shutil.get_terminal_size().columns if sys.stdout.isatty() else None)
