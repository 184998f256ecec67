"""Where a job's files are, as the store of files tells the rooms that run jobs."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Directories:
    """Where a job's files stand. `work` lives over attempts, `output` is one attempt's, `data` the type's.

    As text: most jobs never ask, and a `Path` for each would cost as much as the rest of a short job.
    """

    work: str
    output: str
    data: str
