"""`Ran`: what a run of a handler gave, as the server would have recorded it."""

import json
import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from ..authoring.uploads import Upload
from ..domain.jobs import Job, JobError, NewLogLine, Status
from ..domain.progress import Progress

R = TypeVar("R")


class Folder:
    """A temporary directory that goes when nothing refers to it any more, or with the process."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="headway-run-"))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Ran(Generic[R]):
    """One attempt that has ended."""

    job_id: str
    attempt: int
    status: Status
    """What the job is now: `completed`, `failed` or `cancelled`; `queued` if there will be another attempt."""
    exception: BaseException | None
    """What the handler raised."""
    json: Any
    """The result as clients get it."""
    progress: Sequence[Progress]
    """Every report: `percent`, `done`, `total`, `unit`, `message`, `step`."""
    logs: Sequence[NewLogLine]
    """The job's log: `level` and `message` of each line, printed ones and the server's own included."""
    files: Mapping[str, Path]
    """The output files by name. They are deleted with this object."""
    checkpoints: Sequence[Any]
    """The checkpoints of this attempt."""
    checkpoint: Any
    """The last one, with which the next attempt would begin; `None` if there is none."""
    result_url: str | None
    """What the handler set as `ctx.result_url`."""
    data_dir: Path
    """The `ctx.data_dir`."""
    _value: R
    _error: JobError | None
    _job: Job
    _uploads: Mapping[str, Upload]
    _folder: Folder

    @property
    def result(self) -> R:
        """What the handler returned. Raises `AssertionError`, which says why, if the job has not completed."""
        if self.status is not Status.COMPLETED:
            raise AssertionError(repr(self)) from self.exception
        return self._value

    @property
    def error(self) -> JobError:
        """Why the attempt failed, as clients see it: `type`, `title`, `detail` and `status`.

        Raises `AssertionError` if it did not fail.
        """
        if self._error is None:
            raise AssertionError(f"{self!r} has not failed")
        return self._error

    @property
    def messages(self) -> list[str]:
        """The log's lines without their levels."""
        return [line.message for line in self.logs]

    @property
    def will_retry(self) -> bool:
        """Whether the attempt failed and another one will follow."""
        return self.status is Status.QUEUED and self._error is not None

    def __repr__(self) -> str:
        """One line that says how it ended."""
        ended = "queued again" if self.status is Status.QUEUED else self.status
        why = "" if self._error is None else f": {self._error.text}"
        return f"<attempt {self.attempt} of {self._job.type}: {ended}{why}>"


def decoded(texts: Sequence[str]) -> list[Any]:
    """JSON texts as values."""
    return [json.loads(text) for text in texts]
