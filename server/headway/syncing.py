"""Writing all of the data, and making names durable."""

import os
from io import FileIO
from pathlib import Path


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable (fsync(2): syncing a file does not sync its directory entry)."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_all(file: FileIO, data: bytes | bytearray) -> None:
    """Write all of it: on a nearly full disk an unbuffered file accepts a part of the data without an error."""
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]
