"""A disk that no other test writes to."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class CannotMountError(Exception):
    """No file system can be mounted here. Its text says why."""


@contextmanager
def mounted(folder: Path, size_bytes: int) -> Iterator[Path]:
    """A file system in memory, below `folder`. Raises `CannotMountError`, for most users but root."""
    disk = folder / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "headway-test", str(disk)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CannotMountError(done.stderr.strip())
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)
