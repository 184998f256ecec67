"""The bytes of jobs, as one small protocol for each kind of use. `FileStore` is all of them.

Files before rows: what a row names is already on disk. All methods block, so call them in a thread; the exceptions
say that they are quick. Methods raise `OSError` where the disk does not do what is asked.

A handler can put anything in place of its job's files and directories. Links are never followed, not even one that
appears between a check and its use: nothing outside is published, opened or deleted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol, Self

from ..domain.jobs import Job, OutputFile
from ..domain.uploads import AnnouncedUpload


@dataclass(frozen=True, slots=True)
class Directories:
    """A job's directories: `work` is kept over all attempts, `output` is one attempt's, `data` is the job type's.

    They are text, because most jobs never use them and making a `Path` of each would cost as much as the rest of a
    short job.
    """

    work: str
    output: str
    data: str


class Published(NamedTuple):
    """The output files of an attempt, by name, and what its log should say of those left out or renamed."""

    files: tuple[OutputFile, ...]
    notes: tuple[str, ...]


class Uploads(Protocol):
    """The files of submissions."""

    def free_bytes(self, max_age_s: float = 0.0) -> int:
        """The free space on the disk, as it was at most `max_age_s` seconds ago. Quick."""
        ...

    def new_incoming(self) -> Path:
        """Create an empty directory for one submission's uploads. Delete it if the submission is refused."""
        ...

    def accept_incoming(self, incoming: Path, job_id: str) -> None:
        """Make a submission's uploads the job's inputs, durably. Call it before the job is inserted."""
        ...

    def link_inputs(self, job: Job, new_id: str) -> None:
        """Give a retry the inputs of `job`, durably. The bytes are shared, not copied."""
        ...

    def remove_job(self, job_id: str) -> bool:
        """Delete all files of a job that was not accepted, or whose record is gone. There need not be any.

        What cannot be deleted is left behind and logged. Returns whether nothing is left.
        """
        ...


class Part(Protocol):
    """A part of an upload that is being appended. A context manager: its end closes the file."""

    def write(self, data: bytes | bytearray) -> None:
        """Append these bytes. If it raises, some of them may have been appended."""
        ...

    def sync(self) -> int:
        """Make everything durable. Returns the upload's size."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class UploadFiles(Protocol):
    """Resumable uploads that no job has taken yet. One part of an upload is appended at a time."""

    def create(self, upload: AnnouncedUpload) -> None:
        """Make room for an upload, durably; it is empty."""
        ...

    def describe(self, upload: AnnouncedUpload) -> None:
        """Replace what is known of the upload, durably."""
        ...

    def append(self, upload_id: str, offset: int) -> Part:
        """Begin to append behind the first `offset` bytes. What follows them was never durable, and is dropped."""
        ...

    def link(self, upload_id: str, target: Path) -> None:
        """Give the bytes a second name, which becomes durable with its directory."""
        ...

    def remove(self, upload_id: str) -> None:
        """Delete the upload, but not what was linked. It need not exist."""
        ...

    def count(self) -> int:
        """How many uploads there are."""
        ...

    def load(self, now: datetime) -> Sequence[tuple[AnnouncedUpload, int]]:
        """At start: all uploads that can be read, the oldest first, and how many bytes of each are durable.

        What a crash has left of others is deleted. An upload that cannot be read now is logged, and kept until it would
        have expired: the next start may succeed.
        """
        ...


class AttemptFiles(Protocol):
    """The files of running jobs."""

    def directories(self, job: Job) -> Directories:
        """The directories of attempt `job.attempt`; they may not exist. Quick."""
        ...

    def input(self, job_id: str, field: str) -> Path:
        """Where the upload of one field is. Quick."""
        ...

    def open_input(self, job_id: str, field: str) -> BinaryIO:
        """Open the upload of one field, which the job's record has; the caller closes it."""
        ...

    def lock_file(self, job_id: str) -> Path:
        """The file that a job's process locks, so that the next attempt waits for its end. Quick."""
        ...

    def discard_lock(self, job_id: str) -> None:
        """Delete the lock file, if there is one: the job has ended, and its processes too. Quick."""
        ...

    def has_any(self, job_id: str) -> bool:
        """Whether the job has any files. Quick: checking costs less than starting a thread for it."""
        ...

    def has_output(self, job: Job) -> bool:
        """Whether attempt `job.attempt` has created its output directory. Quick."""
        ...

    def written_bytes(self, job: Job) -> int:
        """The bytes in the job's working directory and in the output directory of attempt `job.attempt`.

        A handler may be writing there: what comes and goes meanwhile may or may not count. Does not raise.
        """
        ...

    def publish_output(self, job: Job) -> Published:
        """Make the attempt's output the job's files, durably.

        Only plain files directly in the output directory are published. Directories, links and special files are
        left out, and so are hard links to files outside it. Characters of names that cannot be shown are replaced.
        Raises `InvalidOutputError` if the directory itself is something else, or holds more than a job may have.
        """
        ...

    def discard_output(self, job: Job) -> None:
        """Delete what the attempt wrote as output, whether or not it has been published."""
        ...

    def add_output(self, job: Job, arrived: Path, name: str) -> None:
        """Move a file, which is durable, into the output directory of attempt `job.attempt` as `name`.

        It replaces a file of that name. The file itself is moved: `arrived` is below the data directory.
        """
        ...

    def discard_work(self, job: Job) -> None:
        """Delete what only an active job needs, the output of earlier attempts included. The job has ended.

        If nothing is left in its directory, that is deleted, too.
        """
        ...


class Outputs(Protocol):
    """The files that clients download."""

    def open_output(self, job_id: str, name: str) -> BinaryIO:
        """Open a published file; the caller closes it. `name` comes from the job's record.

        Raises `FileNotFoundError` for anything but a plain file, and for a hard link to a file outside.
        """
        ...

    def discard_output(self, job: Job) -> None:
        """Delete the job's output files."""
        ...


class Orphans(Protocol):
    """Files that the record does not know, or no longer needs: a crash came between the two."""

    def clear_incoming(self) -> None:
        """At start: delete the uploads of submissions that were never accepted."""
        ...

    def clear_locks(self) -> None:
        """Delete the lock files that a crash has left, except those that are still locked."""
        ...

    def job_ids(self) -> Iterator[str]:
        """The ids of all jobs that have a directory, one by one: there may be a million. Do not list them at once."""
        ...

    def tidy(self, job_id: str, *, has_output: bool) -> None:
        """Delete what a crash has left of an ended job: everything but uploads and, if it has output, its files."""
        ...

    def has_any(self, job_id: str) -> bool:
        """Whether the job has any files. Quick."""
        ...

    def remove_job(self, job_id: str) -> bool:
        """Delete all files of a job whose record is gone. What cannot be deleted is left behind and logged.

        Returns whether nothing is left.
        """
        ...


class FileStore(Uploads, AttemptFiles, Outputs, Orphans, Protocol):
    """Everything that the server keeps on disk, beside the record."""

    @property
    def root(self) -> Path:
        """The data directory."""
        ...

    @property
    def uploads(self) -> UploadFiles:
        """Uploads that no job has taken yet."""
        ...

    @property
    def database(self) -> Path:
        """The file of the record."""
        ...

    def type_data(self, job_type: str) -> Path:
        """The directory that all jobs of a type share; it may not exist. Quick."""
        ...
