"""What workers elsewhere do: ask for a job, hold a lease on its attempt, report, and say how it ended.

A worker holds one attempt of one job as long as it is heard from. Every call that names a lease raises
`LeaseLostError` once the attempt has ended, for any reason: another attempt may be running by then.
"""

from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from ..domain.jobs import Claim, Job, JobError


class LeaseState(NamedTuple):
    """What a worker learns whenever it reports."""

    expires_at: datetime
    """When the attempt counts as lost, unless the worker is heard from before."""
    stop: str | None
    """Why it should stop; `None`: it should go on."""


class Lease(Protocol):
    """A worker's hold on one attempt."""

    @property
    def token(self) -> str:
        """The secret by which the worker names it."""
        ...

    @property
    def claim(self) -> Claim:
        """The job, with its input and its last checkpoint."""
        ...

    @property
    def duration_s(self) -> float:
        """How long the worker may not be heard from before the attempt is lost."""
        ...

    def check(self) -> None:
        """Raise `LeaseLostError` if the attempt has ended, or is about to."""
        ...

    def in_use(self) -> AbstractContextManager[None]:
        """Within the block a request of the worker is under way, and the lease does not run out."""
        ...

    def adding_output(self) -> AbstractContextManager[None]:
        """Within the block a file is put among the output, and the attempt does not end before it is."""
        ...

    def state(self) -> LeaseState:
        """What to tell the worker. If it should stop, it has been told so now."""
        ...

    def progress(self, **values: Any) -> None:
        """Report progress: the arguments of `Context.progress`."""
        ...

    def log(self, message: str, level: str) -> None:
        """Add a line to the job's log, unless the attempt has written too many."""
        ...

    async def checkpoint(self, value: Any) -> None:
        """Record a checkpoint for the next attempt. Raises `ValueError` for one that is too large."""
        ...

    async def complete(self, result: Any, result_url: str | None) -> Job:
        """The job's result. Returns the job once its end is durable: also if it has failed because of its output, or
        if a cancel came first. Raises `ValueError` for a `result_url` that cannot be one.
        """
        ...

    async def fail(self, error: JobError, *, retry: bool) -> Job:
        """The attempt has failed; with `retry` there is another one, if the job has one left. Returns as above."""
        ...

    def hand_back(self) -> None:
        """The worker was gone before it had the lease: the job is queued again at once, and nothing is counted."""
        ...


class Workplace(Protocol):
    """Where workers find jobs."""

    async def claim(self, job_type: str, worker: str | None, wait_s: float) -> Lease | None:
        """A job of the type, as soon as there is one; `None` if there is none within `wait_s` seconds.

        `worker` is the id of the key that it came with; the lease can be used with this key only. If the task is
        cancelled, no job is lost.
        """
        ...

    def find(self, token: str, job_type: str, worker: str | None) -> Lease:
        """The worker's open lease on a job of this type. Raises `LeaseLostError`."""
        ...

    async def reported(self, token: str, job_type: str, worker: str | None) -> Job | None:
        """The job as it was recorded when the worker reported its end with this lease, if that was not long ago.

        So a worker that lost the response to its report can repeat it. If the end is being recorded, this waits for it.
        """
        ...
