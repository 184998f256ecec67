"""Which files of an output directory may be published, and as what."""

import os
import stat
from collections import Counter
from pathlib import Path

from ..domain.jobs import OutputFile
from ..domain.media_types import content_type_of


def plain_files(output: Path) -> tuple[tuple[OutputFile, ...], tuple[str, ...]]:
    """Sync the plain files of a directory. Returns them, and the names of everything else.

    Names are flat: directories, links and special files do not count. Nor do hard links to files outside: a handler
    that unpacks somebody's archive may have created one, and must not publish the file that it leads to.
    """
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
    return tuple(files), tuple(left_out)


def _is_text(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
