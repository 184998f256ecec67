"""`headway logs`, `headway result` and `headway files`"""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ...client import Job, LogLine
from ..printing import fail, show, show_json, write
from .connecting import connected
from .options import AsJson, Quiet, Url
from .statuses import ExitStatus
from .wording import size

STDOUT = "-"
OUTAGE_S = 300.0
"""How long a server may be away while a log is followed, or an end is waited for."""

Id = Annotated[str, typer.Argument(metavar="ID", help="The job's id.")]


def logs(
    job_id: Id,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job has ended.")] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Print a job's log.

    No line is missed over cut connections and restarts of the server. Ctrl-C stops following, not the job.
    """
    with connected(url) as client:
        client.get(job_id)
    with connected(url, retry_for_s=OUTAGE_S) as client:
        for line in client.get(job_id).logs(follow=follow):
            show_json(_fields(job_id, line)) if as_json else show(_text(line))


def _fields(job_id: str, line: LogLine) -> dict[str, Any]:
    at = line.at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"jobId": job_id, "seq": line.seq, "at": at, "level": line.level, "message": line.message}


def _text(line: LogLine) -> str:
    level = "" if line.level == "info" else f"{line.level}: "
    return f"{line.at.astimezone():%H:%M:%S}  {level}{line.message}"


def result(
    job_id: Id,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the job has ended.")] = False,
    output: Annotated[str | None, typer.Option("--output", "-o", metavar="FILE", help="Write it to a file.")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Print what a job has returned, as JSON.

    In a terminal it is indented; elsewhere, and with --json, it is one line. The exit status is 1 if the job has
    failed or has not ended, 3 if it was cancelled.
    """
    with connected(url) as client:
        job = client.get(job_id)
        if not job.state.ended and not wait:
            fail(f"{job_id} is {job.status}: --wait waits for its end", ExitStatus.FAILED)
    with connected(url, retry_for_s=OUTAGE_S) as client:
        job = client.get(job_id)
        if output is not None and output != STDOUT:
            job.save_result(output)
            return
        value = json.loads(job.result_bytes())
    indent = 2 if sys.stdout.isatty() and not as_json else None
    write(json.dumps(value, indent=indent, separators=None if indent else (",", ":")))


def files(
    job_id: Id,
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Files to download.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Download all of them.")] = False,
    to: Annotated[str, typer.Option(metavar="FOLDER", help="Where to; - writes to stdout.")] = ".",
    url: Url = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """List a job's output files, or download them.

    A file appears under its name once it is complete. --quiet prints names alone, or nothing while downloading.
    """
    with connected(url, retry_for_s=OUTAGE_S if names or everything else 1.0) as client:
        job = client.get(job_id)
        if not names and not everything:
            _list(job, as_json=as_json, quiet=quiet)
            return
        for name in [file.name for file in job.files] if everything else names or []:
            if to == STDOUT:
                sys.stdout.buffer.write(job.files.read(name))
                sys.stdout.buffer.flush()
                continue
            Path(to).mkdir(parents=True, exist_ok=True)
            path = job.files.download(name, to)
            if as_json:
                show_json({"name": name, "path": str(path)})
            elif not quiet:
                show(str(path))


def _list(job: "Job[Any]", *, as_json: bool, quiet: bool) -> None:
    for file in job.files:
        if as_json:
            show_json({"name": file.name, "sizeBytes": file.size_bytes, "contentType": file.content_type})
        else:
            show(file.name if quiet else f"{size(file.size_bytes):>10}  {file.name}")
