"""The record of one run: what its attempt leaves, in memory (`ports.jobs.AttemptRecord`)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..domain.jobs import TRANSITIONS, Job, NewLogLine
from ..domain.outcomes import Cancelled, Completed, Failed, Outcome, counted, transition_of

if TYPE_CHECKING:
    from datetime import datetime

    from ..domain.attempts import Usage
    from ..domain.progress import Progress


class RunRecord:
    """A record without quotas, and of one job, so nothing can be lost or refused."""

    def __init__(self) -> None:
        self.checkpoints: list[str] = []
        self.lines: list[NewLogLine] = []
        """The lines that come with the end."""
        self.cancel_requested = False
        self.outcome: Outcome | None = None
        self.job: Job | None = None
        """The job after the attempt."""

    def hold_output(self, job: Job, size_bytes: int) -> None:
        """There is room."""

    async def checkpoint(self, job_id: str, attempt: int, checkpoint_json: str) -> None:  # noqa: ARG002 - a port
        self.checkpoints.append(checkpoint_json)

    async def finish(
        self,
        job: Job,
        outcome: Outcome,
        progress: "Progress",
        lines: Sequence[NewLogLine],
        now: "datetime",
        usage: "Usage | None" = None,  # noqa: ARG002 - a port
    ) -> Job:
        """Record the end. A cancel that was recorded first wins, as in every backend."""
        if self.cancel_requested:
            outcome = Cancelled()
        self.lines.extend(lines)
        counts = counted(outcome)
        self.outcome = outcome
        self.job = job._replace(
            status=TRANSITIONS[transition_of(outcome)][1],
            progress=progress,
            updated_at=now,
            cancel_requested=self.cancel_requested,
            error=outcome.error if isinstance(outcome, Failed) else None,
            files=outcome.files if isinstance(outcome, Completed) else (),
            result_url=outcome.result_url if isinstance(outcome, Completed) else None,
            failures=job.failures + counts.failures,
            recoveries=job.recoveries + counts.recoveries,
            interruptions=job.interruptions + counts.interruptions,
        )
        return self.job
