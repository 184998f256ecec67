"""Which files of an output directory may be published, and as what."""

import os
import re
import stat
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from operator import attrgetter

from ..domain.jobs import OutputFile
from ..domain.media_types import content_type_of
from ..errors import InvalidOutputError
from ..limits import OUTPUT_BYTES, OUTPUT_FILES, OUTPUT_NOTES
from ..ports.files import Published
from ..text import CONTROLS
from .opening import missing, open_plain

NOT_PLAIN = "not available for download, because it is not a plain file that can be read"
NAME_TAKEN = "not available for download, because another file has this name when it is made printable"
RENAMED = "its name had characters that cannot be shown, so it can be downloaded as"

_UNPRINTABLE = re.compile(rf"[{CONTROLS}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, bytes that are not UTF-8, and what turns the direction of text around (UAX 9)."""


def publish_files(output: int) -> Published:
    """Sync the plain files of an open directory, and give them names that can be shown.

    Names are flat: directories, links and special files do not count. Nor do hard links to files outside: a handler
    that unpacks somebody's archive may have created one, and must not publish the file that it leads to. Raises
    `InvalidOutputError` if there are more files or bytes than a job may have.
    """
    found = _look(output)
    links = Counter(map(_identity, found.values()))
    plain = {
        name: status
        for name, status in found.items()
        if stat.S_ISREG(status.st_mode) and status.st_nlink == links[_identity(status)]
    }
    _check_bytes(sum(status.st_size for status in plain.values()))
    files: list[OutputFile] = []
    notes = [f"{NOT_PLAIN}: {printable(name)}" for name in found.keys() - plain.keys()]
    for name, status in plain.items():
        shown, size_bytes = printable(name), _synced(name, output, status)
        if size_bytes is None:
            notes.append(f"{NOT_PLAIN}: {shown}")
        elif shown == name:
            files.append(OutputFile(name, size_bytes, content_type_of(name)))
        elif shown in found:
            notes.append(f"{NAME_TAKEN}: {shown}")
        else:
            os.rename(name, shown, src_dir_fd=output, dst_dir_fd=output)
            found[shown] = status
            files.append(OutputFile(shown, size_bytes, content_type_of(shown)))
            notes.append(f"{RENAMED}: {shown}")
    return Published(tuple(sorted(files, key=attrgetter("name"))), _limited(sorted(notes)))


def printable(name: str) -> str:
    """The name with an underscore for each character that cannot be shown, or that changes how others are."""
    return _UNPRINTABLE.sub("_", name)


def _look(output: int) -> dict[str, os.stat_result]:
    """What is in the directory, by name."""
    with os.scandir(output) as entries:
        names = [entry.name for entry in islice(entries, OUTPUT_FILES + 1)]
    if len(names) > OUTPUT_FILES:
        raise InvalidOutputError(
            "The output has too many files", f"It may have {OUTPUT_FILES:,}: put them into an archive, for example."
        )
    return {name: os.stat(name, dir_fd=output, follow_symlinks=False) for name in sorted(names)}


def _check_bytes(size_bytes: int) -> None:
    if size_bytes > OUTPUT_BYTES:
        raise InvalidOutputError(
            "The output is too large", f"Its files have {size_bytes:,} bytes in all; {OUTPUT_BYTES:,} are allowed."
        )


def _limited(notes: Sequence[str]) -> tuple[str, ...]:
    """The first notes, and how many more there are."""
    if len(notes) <= OUTPUT_NOTES:
        return tuple(notes)
    return (*notes[:OUTPUT_NOTES], f"the same is true of {len(notes) - OUTPUT_NOTES:,} more files")


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
