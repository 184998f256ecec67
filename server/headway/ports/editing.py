"""Editing jobs that were accepted."""

from collections.abc import Callable, Collection
from datetime import datetime
from typing import NamedTuple, Protocol

from ..domain.audit import Actor
from ..domain.jobs import Edit, Job

Change = Callable[[Job], Edit]
"""What is to become of a job. Pure, quick, and called where the record is written; what it raises is passed on."""


class WantedEdit(NamedTuple):
    """An edit as a caller asks for it."""

    caller: str
    job_id: str
    change: Change
    now: datetime
    by: Actor | None = None
    tags: Collection[str] | None = None
    """The job's `edit_tag` has to be one of these; `None`: any."""


class Editing(Protocol):
    """What clients change about jobs without changing their state."""

    async def edit(self, wanted: WantedEdit) -> Job:
        """Read a job, let `change` say what it is to be, and record that, in one step. Returns the job as it then is.

        A queued job whose priority or time changes goes to the place in the queue that it would have if it had been
        submitted like that now; one that was interrupted stays in front. If nothing changes, nothing is recorded, and
        the job's `edit_tag` stays. Raises `JobNotFoundError`, `EditedMeanwhileError`, and what `change` raises.
        """
        ...
