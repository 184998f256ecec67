"""How much a directory holds while its handler goes on writing."""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress

from .opening import DIRECTORY


def tree_bytes(directory: str) -> int:
    """The bytes of the files below a directory; 0 if there is none. Links are not followed.

    A file with several names counts once. What is deleted or cannot be read meanwhile does not count.
    """
    total, seen, left = 0, set[tuple[int, int]](), [directory]
    while left:
        path = left.pop()
        for name, status in _entries(path):
            if stat.S_ISDIR(status.st_mode):
                left.append(f"{path}/{name}")
            elif status.st_nlink == 1 or (status.st_dev, status.st_ino) not in seen:
                total += status.st_size
                if status.st_nlink > 1:
                    seen.add((status.st_dev, status.st_ino))
    return total


def _entries(path: str) -> Iterator[tuple[str, os.stat_result]]:
    """Nothing if a link has taken the directory's place: it may lead to the root of the file system."""
    with suppress(OSError):
        descriptor = os.open(path, DIRECTORY)
        try:
            with os.scandir(descriptor) as entries:
                for entry in entries:
                    with suppress(OSError):
                        yield entry.name, entry.stat(follow_symlinks=False)
        finally:
            os.close(descriptor)
