"""Which files of an output directory may be published, and as what."""

import os
import stat
from collections import Counter

from ..domain.jobs import OutputFile
from ..domain.media_types import content_type_of
from .opening import missing, open_plain


def plain_files(output: int) -> tuple[tuple[OutputFile, ...], tuple[str, ...]]:
    """Sync the plain files of an open directory. Returns them, and the names of everything else.

    Names are flat: directories, links and special files do not count. Nor do hard links to files outside: a handler
    that unpacks somebody's archive may have created one, and must not publish the file that it leads to.
    """
    files: list[OutputFile] = []
    left_out: list[str] = []
    found = {name: os.stat(name, dir_fd=output, follow_symlinks=False) for name in sorted(os.listdir(output))}
    names = Counter(map(_identity, found.values()))
    for name, status in found.items():
        only_here = stat.S_ISREG(status.st_mode) and status.st_nlink == names[_identity(status)]
        size_bytes = _synced(name, output, status) if only_here and _is_text(name) else None
        if size_bytes is None:
            left_out.append(name.encode("utf-8", "replace").decode())
        else:
            files.append(OutputFile(name, size_bytes, content_type_of(name)))
    return tuple(files), tuple(left_out)


def open_published(name: str, directory: int) -> int:
    """A descriptor of the published file `name`. The caller closes it. Raises `FileNotFoundError`, and `OSError`.

    A file that has a name elsewhere is not published, whenever it got it.
    """
    descriptor = open_plain(name, directory)
    status = os.fstat(descriptor)
    if status.st_nlink == 1 or status.st_nlink == _names_in(directory, status):
        return descriptor
    os.close(descriptor)
    raise missing(name)


def _synced(name: str, output: int, found: os.stat_result) -> int | None:
    """The file's size in bytes, once it is durable; `None` if it cannot be read or is no longer the one found."""
    try:
        descriptor = open_plain(name, output)
    except (FileNotFoundError, PermissionError):
        return None
    try:
        status = os.fstat(descriptor)
        if _identity(status) != _identity(found) or status.st_nlink != found.st_nlink:
            return None
        os.fsync(descriptor)
        return status.st_size
    finally:
        os.close(descriptor)


def _names_in(directory: int, status: os.stat_result) -> int:
    """How many names the file has in an open directory."""
    with os.scandir(directory) as entries:
        inodes = [entry for entry in entries if entry.inode() == status.st_ino]
    return sum(_identity(entry.stat(follow_symlinks=False)) == _identity(status) for entry in inodes)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _is_text(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
