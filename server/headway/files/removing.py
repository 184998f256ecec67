"""Deleting what handlers left behind: links are deleted, not followed, and no tree is too deep."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from secrets import token_hex

from .opening import open_directory

ALL_OF_OWNER = 0o700


def remove(name: str, within: int) -> None:
    """Delete whatever is called `name` in the open directory `within`, with all that is in it. It need not exist.

    Raises `OSError` if something is left, with the first path as its `filename`; everything else is deleted
    nevertheless. Directories may have been moved meanwhile: the path says where they are now.
    """
    try:
        os.unlink(name, dir_fd=within)
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):  # unlink(2): a directory, on Linux and by POSIX
        if not _is_directory(name, within):
            raise
        _remove_directory(name, within)


def _is_directory(name: str, within: int) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=within, follow_symlinks=False).st_mode)


def _remove_directory(name: str, within: int) -> None:
    """Delete a tree of any depth, with at most two of its directories open.

    Its inner directories are moved up until the tree is flat. `shutil.rmtree` keeps a descriptor for each level and,
    before Python 3.13, calls itself: a thousand levels stop it.
    """
    fresh = map((token_hex(8) + "-{}").format, count())
    stuck: set[str] = set()
    left: list[OSError] = []
    with _open_for_removal(name, within) as top:
        while inner := _remove_files(top, name, left) - stuck:
            for directory in inner:
                stuck.add(directory)
                with _noting(f"{name}/{directory}", left):
                    _empty_into(top, directory, fresh, f"{name}/{directory}", left)
                    os.rmdir(directory, dir_fd=top)
                    stuck.discard(directory)
    try:
        os.rmdir(name, dir_fd=within)
    except OSError as error:
        raise (left or [error])[0] from None


def _empty_into(top: int, directory: str, fresh: Iterator[str], path: str, left: list[OSError]) -> None:
    """Delete the files of a directory in `top`, and move its directories to `top`."""
    with _open_for_removal(directory, top) as emptied:
        for inner in _remove_files(emptied, path, left):
            with _noting(f"{path}/{inner}", left):
                os.rename(inner, next(fresh), src_dir_fd=emptied, dst_dir_fd=top)


def _remove_files(directory: int, path: str, left: list[OSError]) -> set[str]:
    """Delete everything but directories. Returns the names of those."""
    with os.scandir(directory) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_directory in found:
        if not is_directory:
            with _noting(f"{path}/{name}", left):
                os.unlink(name, dir_fd=directory)
    return {name for name, is_directory in found if is_directory}


@contextmanager
def _noting(path: str, left: list[OSError]) -> Iterator[None]:
    """Go on if something cannot be deleted, a mount point for example; the first error is noted."""
    try:
        yield
    except FileNotFoundError:
        pass  # somebody else has deleted it
    except OSError as error:
        if not left:
            left.append(OSError(error.errno, error.strerror, path))


@contextmanager
def _open_for_removal(name: str, within: int) -> Iterator[int]:
    """Open a directory, and permit what its removal needs: a handler may have forbidden it."""
    found = os.stat(name, dir_fd=within, follow_symlinks=False)
    if stat.S_ISDIR(found.st_mode) and found.st_mode & ALL_OF_OWNER != ALL_OF_OWNER:
        os.chmod(name, ALL_OF_OWNER, dir_fd=within, follow_symlinks=False)
    with open_directory(name, within) as descriptor:
        yield descriptor
