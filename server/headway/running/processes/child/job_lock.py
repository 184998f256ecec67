"""The lock of a job, held by the process of its attempt: two attempts never run at once, whatever servers believe."""

import fcntl
import os
from pathlib import Path
from typing import Self


class JobLock:
    """A file that is locked until it is released or this process and what it has forked have ended (flock(2))."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    @classmethod
    def acquire(cls, path: Path) -> Self:
        """Wait for the process of an earlier attempt to end. Raises `OSError`."""
        while True:
            descriptor = _opened(path)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            lock = cls(path, descriptor)
            if lock._is_its_file():
                return lock
            os.close(descriptor)  # its last holder has deleted it: others lock a new file

    def release(self) -> None:
        """Delete the file and unlock it."""
        if self._is_its_file():
            self._path.unlink(missing_ok=True)
        os.close(self._descriptor)

    def _is_its_file(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._descriptor), self._path.stat(follow_symlinks=False))
        except FileNotFoundError:
            return False


def _opened(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o600)
    except FileNotFoundError:  # nearly always the folder is there
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, flags, 0o600)
