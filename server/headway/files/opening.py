"""Opening what a handler may have replaced: no link is followed, and nothing waits for the other end of a pipe.

A path names whatever is there when it is used, which can be something else than what was checked. So everything below
a job's directory is reached by a name in a directory that is already open, as in openat(2).
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
PLAIN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


@contextmanager
def open_directory(name: str, within: int) -> Iterator[int]:
    """A descriptor of the directory `name` in the open directory `within`. Links are not directories.

    Raises `FileNotFoundError`, `NotADirectoryError` and other kinds of `OSError`.
    """
    descriptor = os.open(name, DIRECTORY, dir_fd=within)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def open_plain(name: str, within: int) -> int:
    """A descriptor of the plain file `name` in the open directory `within`. The caller closes it.

    Raises `FileNotFoundError` for anything else, a link for example, and other kinds of `OSError`.
    """
    if "/" in name or not stat.S_ISREG(os.stat(name, dir_fd=within, follow_symlinks=False).st_mode):
        raise missing(name)  # before it is opened, since opening a device can have an effect
    try:
        descriptor = os.open(name, PLAIN, dir_fd=within)
    except OSError as error:
        if error.errno == errno.ELOOP:  # a link that has just been put in its place
            raise missing(name) from error
        raise
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise missing(name)


def _missing(name: str) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)


def missing(name: str) -> FileNotFoundError:
    """The error for a name that no plain file has."""
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
