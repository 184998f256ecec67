"""`headway submit`"""

import sys
from typing import Annotated

import typer

from ...client import JobState
from ..printing import fail, show, show_json
from .connecting import connected
from .durations import instant_of, seconds_of
from .inputs import files_of, inputs_of, job_type_of
from .options import AsJson, Quiet, Url

PATIENCE_S = 60.0
"""A server that is full, or limits the rate, has room again in a moment."""


def submit(  # noqa: PLR0913, PLR0917 - typer takes a flag from each parameter
    job_type: Annotated[str, typer.Argument(metavar="TYPE", help="The job type: see `headway types`.")],
    values: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE | -]...", help="Fields of the input, or - for JSON from stdin."),
    ] = None,
    file: Annotated[
        list[str] | None, typer.Option("--file", metavar="PART=PATH", help="A file of the input. Repeatable.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Watch it until it has ended.")] = False,
    label: Annotated[str | None, typer.Option(help="A text for people.")] = None,
    priority: Annotated[int | None, typer.Option(help="Higher ones run first.")] = None,
    run_at: Annotated[
        str | None, typer.Option(metavar="WHEN", help="Not before: 15m (from now), or 2026-03-01T12:00:00Z.")
    ] = None,
    timeout: Annotated[str | None, typer.Option(metavar="TIME", help="How long it may run: 90s, 15m, 12h.")] = None,
    retain: Annotated[str | None, typer.Option(metavar="TIME", help="How long it is kept after its end: 30d.")] = None,
    metadata: Annotated[list[str] | None, typer.Option(metavar="KEY=TEXT", help="Metadata. Repeatable.")] = None,
    key: Annotated[
        str | None, typer.Option("--idempotency-key", help="Submitted again with the same key, it is the same job.")
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Submit a job, or one for each JSON document on stdin.

    Prints the job's id. Values are read by the schema of the type's input: width=640 is a number where the schema
    says so. A list's key is repeated, a dot leads into an object. With --watch, the exit status is 0 if it has
    completed, 1 if it has failed, 3 if it was cancelled.
    """
    options = {
        "label": label,
        "priority": priority,
        "run_at": None if run_at is None else instant_of(run_at, "--run-at"),
        "timeout_s": None if timeout is None else seconds_of(timeout, "--timeout"),
        "retain_s": None if retain is None else seconds_of(retain, "--retain"),
        "metadata": _pairs(metadata or []),
    }
    with connected(url) as client:
        described = job_type_of(client, job_type)
        files = files_of(file or [], described)
        inputs = list(inputs_of(values or [], described))
    if key is not None and len(inputs) > 1:
        fail("--idempotency-key: there is more than one input on stdin")
    if not inputs:
        fail("there is no JSON on stdin")
    with connected(url, retry_for_s=PATIENCE_S) as client:
        submitted = []
        for each in inputs:
            state = client.submit(job_type, each, files=files, idempotency_key=key, **options).state  # type: ignore[arg-type]
            submitted.append(state)
            if not watch:
                _print(state, as_json=as_json)
    if watch:
        from ..watching.watching import watch_jobs  # noqa: PLC0415 - rich and asyncio, for those who watch

        raise SystemExit(watch_jobs(url, [state.id for state in submitted], as_json=as_json, quiet=quiet))
    if not quiet and not as_json and sys.stdout.isatty():
        show(f"headway watch {submitted[-1].id} shows its progress", sys.stderr)


def _print(state: JobState, *, as_json: bool) -> None:
    show_json(state.raw) if as_json else show(state.id)


def _pairs(arguments: list[str]) -> dict[str, str] | None:
    pairs = {}
    for argument in arguments:
        name, equals, text = argument.partition("=")
        if not equals:
            fail(f"--metadata: {argument!r} is not key=text")
        pairs[name] = text
    return pairs or None
