"""How much a directory holds while its handler goes on writing."""

import os
import stat
from contextlib import suppress


def tree_bytes(directory: str) -> int:
    """The bytes of the files below a directory; 0 if there is none. Links are not followed.

    A file with several names counts once. What is deleted or cannot be read meanwhile does not count.
    """
    total, seen, left = 0, set[tuple[int, int]](), [directory]
    while left:
        with suppress(OSError), os.scandir(left.pop()) as entries:
            for entry in entries:
                with suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    if stat.S_ISDIR(status.st_mode):
                        left.append(entry.path)
                    elif status.st_nlink == 1 or (status.st_dev, status.st_ino) not in seen:
                        total += status.st_size
                        if status.st_nlink > 1:
                            seen.add((status.st_dev, status.st_ino))
    return total
