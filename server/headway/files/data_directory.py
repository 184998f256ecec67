"""The data directory: where the bytes of jobs stand. Files before rows: what a row names is on disk already.

headway.db            the record
headway.lock          held by the one server that owns the directory
incoming/             uploads of submissions that are not accepted yet
jobs/<id>/inputs/     uploads, one file for each `Upload` field
jobs/<id>/work/       the handler's, over all attempts
jobs/<id>/output-<n>/ attempt n's output while it runs
jobs/<id>/files/      the completed job's output
types/<type>/         the handler's, over all jobs of the type
"""

import fcntl
import math
import mimetypes
import os
import shutil
import stat
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self

from ..domain.ids import is_job_id
from ..domain.jobs import Job, OutputFile
from ..errors import DirectoryOwnedError, SetupError
from ..ports.files import Directories

MEMORY = ":memory:"
PRIVATE = 0o700
"""Of the directories that are made here. One that is there already keeps its operator's permissions."""

_SAFE_TYPES = {".md": "text/markdown", ".log": "text/plain", ".sqlite": "application/vnd.sqlite3"}
_COMPRESSED = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}


class DataDirectory:
    """Owns a directory for as long as the server runs. All methods block: call them in a thread."""

    def __init__(self, root: Path, lock: int, *, temporary: bool) -> None:
        self.root = root
        self._lock = lock
        self._temporary = temporary
        self._jobs, self._types = str(root / "jobs"), str(root / "types")
        self._free_bytes = 0
        self._free_bytes_at_s = -math.inf

    @classmethod
    def open(cls, location: str) -> Self:
        """Create and lock the directory; `:memory:` is a temporary one, deleted by `close`.

        Raises `SetupError` if another server owns it or it cannot be used.
        """
        temporary = location == MEMORY
        root = Path(tempfile.mkdtemp(prefix="headway-")) if temporary else Path(location).expanduser().resolve()
        try:
            root.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
            for part in ("incoming", "jobs", "types"):
                (root / part).mkdir(mode=PRIVATE, exist_ok=True)
            _make_private_file(root / "headway.db")  # SQLite gives its other files the same permissions
            lock = os.open(root / "headway.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SetupError(
                f"the data directory {root} cannot be used ({error.strerror}): choose --data-dir"
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.pread(lock, 20, 0).decode("ascii", "replace").strip() or "?"
            os.close(lock)
            raise DirectoryOwnedError(
                f"another server (process {owner}) uses {root}: stop it, or choose another --data-dir"
            ) from error
        except OSError as error:  # a network file system, say
            os.close(lock)
            raise SetupError(
                f"{root} cannot be locked ({error.strerror}): choose a --data-dir on a local disk"
            ) from error
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        return cls(root, lock, temporary=temporary)

    @staticmethod
    def existing(location: str, *, may_be_new: bool = False) -> Path:
        """The directory of a record that is there already, or may be made now. Raises `SetupError`."""
        root = Path(location).expanduser().resolve()
        if may_be_new and location != MEMORY:
            return root
        if not (root / "headway.db").exists():
            raise SetupError(f"{root} holds no record: name the server's --data-dir")
        return root

    def close(self) -> None:
        """Give the directory up."""
        if self._temporary:
            shutil.rmtree(self.root, ignore_errors=True)
        os.close(self._lock)

    @property
    def database(self) -> Path:
        return self.root / "headway.db"

    def free_bytes(self, max_age_s: float = 0.0) -> int:
        """What the disk still takes from this user (statvfs(3): blocks for others than root).

        `max_age_s`: how old the answer may be. Asking is a system call, for each of thousands of submissions.
        """
        now_s = time.monotonic()
        if now_s - self._free_bytes_at_s > max_age_s:
            disk = os.statvfs(self.root)
            self._free_bytes, self._free_bytes_at_s = disk.f_bavail * disk.f_frsize, now_s
        return self._free_bytes

    def job(self, job_id: str) -> Path:
        """The job's own directory; it may not exist."""
        return self.root / "jobs" / job_id

    def directories(self, job: Job) -> Directories:
        """What the context offers to attempt `job.attempt`."""
        own = f"{self._jobs}/{job.id}"
        return Directories(f"{own}/work", f"{own}/output-{job.attempt}", f"{self._types}/{job.type}")

    def has_any(self, job_id: str) -> bool:
        """Whether the job has files at all. Quick: a look costs less than a hop to a thread."""
        return os.path.exists(f"{self._jobs}/{job_id}")  # noqa: PTH110 - a Path takes longer than the look

    def has_output(self, job: Job) -> bool:
        """Whether the attempt has made its output directory. Quick, as `has_any`."""
        return os.path.exists(f"{self._jobs}/{job.id}/output-{job.attempt}")  # noqa: PTH110 - as above

    def type_data(self, job_type: str) -> Path:
        """What all jobs of the type share; it may not exist."""
        return self.root / "types" / job_type

    def input(self, job_id: str, field: str) -> Path:
        return self.job(job_id) / "inputs" / field

    def new_incoming(self) -> Path:
        """A fresh directory for one submission's uploads."""
        return Path(tempfile.mkdtemp(dir=self.root / "incoming"))

    def accept_incoming(self, incoming: Path, job_id: str) -> None:
        """Make a submission's uploads the job's inputs, durably, before its row is inserted."""
        own = self.job(job_id)
        own.mkdir()
        sync_directory(incoming)
        incoming.rename(own / "inputs")
        sync_directory(own)
        sync_directory(own.parent)

    def link_inputs(self, job: Job, new_id: str) -> None:
        """Give a job that repeats `job` the same uploads, durably: the same files under a second name."""
        inputs = self.job(new_id) / "inputs"
        inputs.mkdir(parents=True)
        for upload in job.uploads:
            os.link(self.input(job.id, upload.field), inputs / upload.field)
        sync_directory(inputs)
        sync_directory(inputs.parent)
        sync_directory(inputs.parent.parent)

    def publish_output(self, job: Job) -> tuple[tuple[OutputFile, ...], tuple[str, ...]]:
        """Make the attempt's output the job's files, durably. Returns them and the names that are left out.

        Names are flat: directories, links and special files are left out. So are hard links to files outside: whoever
        unpacks an archive that somebody sent may have made one, and must not publish what it leads to.
        """
        output = Path(self.directories(job).output)
        if not output.is_dir():
            return (), ()
        files: list[OutputFile] = []
        left_out: list[str] = []
        found = {entry: entry.lstat() for entry in sorted(output.iterdir())}
        names = Counter((status.st_dev, status.st_ino) for status in found.values())
        for entry, status in found.items():
            only_here = stat.S_ISREG(status.st_mode) and status.st_nlink == names[status.st_dev, status.st_ino]
            if not only_here or not _is_text(entry.name):
                left_out.append(entry.name.encode("utf-8", "replace").decode())
                continue
            with entry.open("rb") as file:
                os.fsync(file.fileno())
            files.append(OutputFile(entry.name, status.st_size, content_type_of(entry.name)))
        sync_directory(output)
        published = self.job(job.id) / "files"
        shutil.rmtree(published, ignore_errors=True)
        output.rename(published)
        sync_directory(published.parent)
        return tuple(files), tuple(left_out)

    def discard_output(self, job: Job) -> None:
        """Delete what the attempt wrote as output, published or not."""
        shutil.rmtree(self.directories(job).output, ignore_errors=True)
        shutil.rmtree(self.job(job.id) / "files", ignore_errors=True)

    def discard_work(self, job: Job) -> None:
        """Delete what only a running job needs."""
        shutil.rmtree(self.directories(job).work, ignore_errors=True)

    def remove_job(self, job_id: str) -> None:
        """Delete all files of a job whose record is gone."""
        shutil.rmtree(self.job(job_id), ignore_errors=True)

    def clear_incoming(self) -> None:
        """At start: delete the uploads of submissions that were never accepted."""
        for left in (self.root / "incoming").iterdir():
            shutil.rmtree(left, ignore_errors=True)

    def job_ids(self) -> Iterator[str]:
        """The ids of which there are directories."""
        with os.scandir(self.root / "jobs") as entries:
            for entry in entries:
                if is_job_id(entry.name):
                    yield entry.name


def _make_private_file(path: Path) -> None:
    """The record holds what was submitted, and secrets: nobody else may read it, wherever the directory is."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def content_type_of(name: str) -> str:
    """A media type by the file's name; what is unknown is bytes."""
    guessed, encoding = mimetypes.guess_type(f"./{name}")  # "./": a name that begins with "data:" is no URL
    if encoding is not None:
        return _COMPRESSED.get(encoding, "application/octet-stream")  # data.csv.gz is no CSV
    return _SAFE_TYPES.get(Path(name).suffix.lower()) or guessed or "application/octet-stream"


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable (fsync(2): syncing a file does not sync its directory entry)."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_text(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
