"""`headway cancel`, `headway retry` and `headway delete`"""

import sys
from collections.abc import Callable
from typing import Any

from ...client import ClientError, Job, ServerUnreachableError
from ..printing import show, show_json
from .connecting import connected
from .options import AsJson, Ids, Quiet, Url, ids_of
from .statuses import ExitStatus, message_of, status_of_error


def cancel(ids: Ids, url: Url = None, as_json: AsJson = False, quiet: Quiet = False) -> None:
    """Cancel jobs.

    A cancel is durable once this returns. A job that is still running then stops in a moment. --quiet prints nothing.
    """

    def one(job: "Job[Any]") -> None:
        state = job.cancel()
        if as_json:
            show_json(state.raw)
        elif not quiet:
            show(f"{state.id} {'was cancelled' if state.ended else 'is stopping'}")

    _each(url, ids, one)


def _each(url: str | None, ids: list[str], change: Callable[["Job[Any]"], None]) -> None:
    """Change each job, also if others cannot be changed. The exit status is that of the first error."""
    status = ExitStatus.COMPLETED
    with connected(url) as client:
        for job_id in ids_of(ids):
            try:
                change(client.get(job_id))
            except ServerUnreachableError:
                raise
            except ClientError as error:
                show(f"headway: {job_id}: {message_of(error)}", sys.stderr)
                status = status or status_of_error(error)
    raise SystemExit(status)


def retry(ids: Ids, url: Url = None, as_json: AsJson = False, quiet: Quiet = False) -> None:
    """Submit jobs that have ended again, as new jobs.

    Prints the ids of the new jobs; --quiet prints nothing else either.
    """

    def one(job: "Job[Any]") -> None:
        state = job.retry().state
        show_json(state.raw) if as_json else show(state.id if quiet else f"{state.id} repeats {job.id}")

    _each(url, ids, one)


def delete(ids: Ids, url: Url = None, as_json: AsJson = False, quiet: Quiet = False) -> None:
    """Delete jobs with their logs, files and results.

    A job that has not ended is cancelled first. --quiet prints nothing.
    """

    def one(job: "Job[Any]") -> None:
        job.purge()
        if as_json:
            show_json({"jobId": job.id, "deleted": True})
        elif not quiet:
            show(f"{job.id} was deleted")

    _each(url, ids, one)
