"""The cgroup of a server, below its delegated one, and in it one for each child. What a killed server left is swept."""

import fcntl
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Self

import structlog

from .cgroup import Cgroup
from .delegation import delegated_cgroup

PREFIX = "headway-"

log = structlog.get_logger(__name__)


class Containment:
    """The cgroup below which children have theirs. It is locked as long as its server lives."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def open(cls) -> Self | None:
        """Make one and sweep what servers have left that were killed; `None` where nothing is delegated.

        Blocks while what they left dies.
        """
        below = delegated_cgroup()
        if below is None:
            return None
        try:
            sweep(below)
            path, lock = _locked_directory(below)
        except OSError as error:
            log.warning("the processes of jobs have no cgroups", reason=str(error))
            return None
        log.info("each process of a job has a cgroup", below=str(path))
        return cls(path, lock)

    def close(self) -> None:
        """Kill what is left, and remove all of it. Blocks until then."""
        _end(self.path)
        os.close(self._lock)


def sweep(below: Path) -> None:
    """Kill what servers have left that are gone, in the cgroup `below`, which is left to others otherwise."""
    for path in below.glob(f"{PREFIX}*"):
        with suppress(OSError):  # one that ends just now removes it itself
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if Cgroup(path).populated:
                    log.warning("killed what a server had left that ended before it could", cgroup=str(path))
                _end(path)
            finally:
                os.close(descriptor)


def _locked_directory(below: Path) -> tuple[Path, int]:
    while True:
        path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=below))
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        with suppress(BlockingIOError):  # another server takes it for one that was left
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists():
                return path, descriptor
        os.close(descriptor)


def _end(path: Path) -> None:
    left = Cgroup(path).end()
    if left:
        log.error("the system holds up processes that have been killed", pids=left)
