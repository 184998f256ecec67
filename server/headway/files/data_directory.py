"""The data directory, where the bytes of jobs are. Files before rows: what a row names is already on disk.

headway.db            the record
headway.lock          locked by the one server that owns the directory
incoming/             uploads of submissions that have not been accepted yet
uploads/<id>/         resumable uploads that no job has taken yet: see `upload_folder`
jobs/<id>/inputs/     uploads, one file for each `Upload` field
jobs/<id>/work/       the handler's, over all attempts
jobs/<id>/output-<n>/ the output of attempt n while it runs
jobs/<id>/files/      the output of the completed job
locks/<id>            locked by the process of a `def` job's running attempt
types/<type>/         the handler's, over all jobs of the type
"""

import fcntl
import math
import os
import shutil
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path
from typing import BinaryIO, Self

import structlog

from ..domain.ids import is_job_id
from ..domain.jobs import Job
from ..errors import DirectoryOwnedError, InvalidOutputError, SetupError
from ..ports.files import Directories, Published
from ..syncing import sync_directory
from .measuring import tree_bytes
from .opening import DIRECTORY, missing, open_directory, open_plain
from .outputs import open_published, publish_files
from .removing import remove
from .upload_folder import UploadFolder

MEMORY = ":memory:"
INPUTS, FILES = "inputs", "files"
PRIVATE = 0o700
"""The permissions of directories that are created here. Those of existing ones are left to their operator."""

log = structlog.get_logger(__name__)


class DataDirectory:
    """The embedded `FileStore`. It owns its directory for as long as the server runs.

    Handlers write below the directories of their jobs, so the server follows no link there: see `opening`.
    """

    def __init__(self, root: Path, lock: int, *, temporary: bool) -> None:
        self.root = root
        self.uploads = UploadFolder(root / "uploads")
        self._lock = lock
        self._temporary = temporary
        self._jobs, self._locks, self._types = (str(root / part) for part in ("jobs", "locks", "types"))
        self._jobs_directory = os.open(self._jobs, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._free_bytes = 0
        self._free_bytes_at_s = -math.inf

    @classmethod
    def open(cls, location: str) -> Self:
        """Create and lock the directory. `:memory:` is a temporary one that `close` deletes.

        Raises `SetupError` if another server owns it or it cannot be used.
        """
        temporary = location == MEMORY
        root = Path(tempfile.mkdtemp(prefix="headway-")) if temporary else Path(location).expanduser().resolve()
        try:
            root.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
            for part in ("incoming", "jobs", "locks", "types", "uploads"):
                (root / part).mkdir(mode=PRIVATE, exist_ok=True)
            _create_private_file(root / "headway.db")  # SQLite gives its other files the same permissions
            lock = os.open(root / "headway.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SetupError(
                f"the data directory {root} cannot be used ({error.strerror}): choose another --data-dir"
            ) from error
        _lock(lock, root)
        return cls(root, lock, temporary=temporary)

    @staticmethod
    def existing(location: str, *, may_be_new: bool = False) -> Path:
        """The path of a directory that already holds a record, or may be created now. Raises `SetupError`."""
        root = Path(location).expanduser().resolve()
        if may_be_new and location != MEMORY:
            return root
        if not (root / "headway.db").exists():
            raise SetupError(f"{root} holds no record: name the server's --data-dir")
        return root

    def close(self) -> None:
        """Release the directory."""
        if self._temporary:
            shutil.rmtree(self.root, ignore_errors=True)
        os.close(self._jobs_directory)
        os.close(self._lock)

    @property
    def database(self) -> Path:
        return self.root / "headway.db"

    def free_bytes(self, max_age_s: float = 0.0) -> int:
        # A system call for each of thousands of submissions would cost more than it tells.
        now_s = time.monotonic()
        if now_s - self._free_bytes_at_s > max_age_s:
            disk = os.statvfs(self.root)
            # statvfs(3): f_bavail leaves out the blocks that only root may use.
            self._free_bytes, self._free_bytes_at_s = disk.f_bavail * disk.f_frsize, now_s
        return self._free_bytes

    # Where things are

    def job(self, job_id: str) -> Path:
        """The job's own directory; it may not exist."""
        return self.root / "jobs" / job_id

    def directories(self, job: Job) -> Directories:
        own = f"{self._jobs}/{job.id}"
        return Directories(f"{own}/work", f"{own}/output-{job.attempt}", f"{self._types}/{job.type}")

    def has_any(self, job_id: str) -> bool:
        try:
            os.stat(job_id, dir_fd=self._jobs_directory, follow_symlinks=False)
        except (OSError, ValueError):  # NUL in the id of a damaged row
            return False
        return True

    def has_output(self, job: Job) -> bool:
        return os.path.lexists(f"{self._jobs}/{job.id}/output-{job.attempt}")

    def type_data(self, job_type: str) -> Path:
        return self.root / "types" / job_type

    def input(self, job_id: str, field: str) -> Path:
        return self.job(job_id) / "inputs" / field

    def open_input(self, job_id: str, field: str) -> BinaryIO:
        with self._own(job_id) as own, open_directory(INPUTS, own) as inputs:
            return os.fdopen(open_plain(field, inputs), "rb")

    def lock_file(self, job_id: str) -> Path:
        return Path(self._locks, job_id)

    # Uploads

    def new_incoming(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self.root / "incoming"))

    def accept_incoming(self, incoming: Path, job_id: str) -> None:
        own = self.job(job_id)
        own.mkdir()
        sync_directory(incoming)
        incoming.rename(own / "inputs")
        sync_directory(own)
        sync_directory(own.parent)

    def link_inputs(self, job: Job, new_id: str) -> None:
        os.mkdir(new_id, dir_fd=self._jobs_directory)
        with self._own(job.id) as own, open_directory("inputs", own) as inputs, self._own(new_id) as new:
            os.mkdir("inputs", dir_fd=new)
            with open_directory("inputs", new) as new_inputs:
                for upload in job.uploads:
                    os.close(open_plain(upload.field, inputs))
                    os.link(upload.field, upload.field, src_dir_fd=inputs, dst_dir_fd=new_inputs, follow_symlinks=False)
                os.fsync(new_inputs)
            os.fsync(new)
        os.fsync(self._jobs_directory)

    # Output

    def written_bytes(self, job: Job) -> int:
        directories = self.directories(job)
        return tree_bytes(directories.work) + tree_bytes(directories.output)

    def publish_output(self, job: Job) -> Published:
        name = f"output-{job.attempt}"
        with ExitStack() as opened:
            try:
                own = opened.enter_context(self._own(job.id))
                output = opened.enter_context(open_directory(name, own))
            except FileNotFoundError:
                return Published((), ())
            except NotADirectoryError as error:
                raise _replaced() from error
            published = publish_files(output)
            os.fsync(output)
            remove("files", own)
            os.rename(name, "files", src_dir_fd=own, dst_dir_fd=own)
            if not os.path.samestat(os.stat("files", dir_fd=own, follow_symlinks=False), os.fstat(output)):
                raise _replaced()
            os.fsync(own)
        return published

    def open_output(self, job_id: str, name: str) -> BinaryIO:
        try:
            with self._own(job_id) as own, open_directory("files", own) as published:
                return os.fdopen(open_published(name, published), "rb")
        except NotADirectoryError as error:
            raise missing(name) from error

    def discard_lock(self, job_id: str) -> None:
        # Usually there is none: only processes lock, and one that is kept deletes the file itself.
        with suppress(OSError):
            os.unlink(f"{self._locks}/{job_id}")  # noqa: PTH108 - making a Path takes longer

    def discard_output(self, job: Job) -> None:
        self._discard(job.id, f"output-{job.attempt}", "files")

    def add_output(self, job: Job, arrived: Path, name: str) -> None:
        output = Path(self.directories(job).output)
        output.mkdir(parents=True, exist_ok=True)
        arrived.rename(output / name)

    def discard_work(self, job: Job) -> None:
        self._discard_all_but(job.id, {INPUTS, FILES})

    def tidy(self, job_id: str, *, has_output: bool) -> None:
        self._discard_all_but(job_id, {INPUTS, FILES} if has_output else {INPUTS})

    def _discard_all_but(self, job_id: str, kept: Collection[str]) -> None:
        with suppress(OSError), self._own(job_id) as own:
            for name in set(os.listdir(own)).difference(kept):  # noqa: PTH208 - Path knows no open directories
                with suppress(OSError):  # it goes with the job
                    remove(name, own)
        with suppress(OSError):  # uploads or output are left
            os.rmdir(job_id, dir_fd=self._jobs_directory)

    def _discard(self, job_id: str, *names: str) -> None:
        with suppress(OSError), self._own(job_id) as own:
            for name in names:
                with suppress(OSError):  # it goes with the job
                    remove(name, own)

    def _own(self, job_id: str) -> AbstractContextManager[int]:
        """The job's own directory, opened. Raises `OSError`."""
        return open_directory(job_id, self._jobs_directory)

    # Removing

    def remove_job(self, job_id: str) -> bool:
        if not is_job_id(job_id):  # of a damaged row, and perhaps a path to something else
            return True
        try:
            remove(job_id, self._jobs_directory)
        except FileNotFoundError:  # somebody else has deleted it meanwhile
            return True
        except OSError as error:
            left = f"jobs/{error.filename or job_id}"
            log.warning("a job's files could not be deleted", job_id=job_id, left=left, reason=error.strerror)
            return False
        return True

    def clear_incoming(self) -> None:
        incoming = os.open(self.root / "incoming", DIRECTORY)
        try:
            for left in os.listdir(incoming):  # noqa: PTH208 - Path knows no open directories
                with suppress(OSError):
                    remove(left, incoming)
        finally:
            os.close(incoming)

    def clear_locks(self) -> None:
        for left in (self.root / "locks").iterdir():
            with suppress(OSError):
                descriptor = os.open(left, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    left.unlink()
                finally:
                    os.close(descriptor)

    def job_ids(self) -> Iterator[str]:
        with os.scandir(self.root / "jobs") as entries:
            for entry in entries:
                if is_job_id(entry.name):
                    yield entry.name


def _replaced() -> InvalidOutputError:
    return InvalidOutputError(
        "The output directory was replaced",
        "Something else, a link for example, took the place of ctx.output_dir: write files into it instead.",
    )


def _lock(lock: int, root: Path) -> None:
    """Lock the directory's lock file and write this process's id into it. Closes it and raises `SetupError`."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        owner = os.pread(lock, 20, 0).decode("ascii", "replace").strip() or "?"
        os.close(lock)
        raise DirectoryOwnedError(
            f"another server (process {owner}) uses {root}: stop it, or choose another --data-dir"
        ) from error
    except OSError as error:  # a network file system, for example
        os.close(lock)
        raise SetupError(f"{root} cannot be locked ({error.strerror}): choose a --data-dir on a local disk") from error
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)


def _create_private_file(path: Path) -> None:
    """The record holds inputs and secrets: no other user may read it, wherever the directory is."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
