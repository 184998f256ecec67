"""The processes below this one: orphans that fall to it, and the end of them all. Linux only.

For the keeper and the nursery, which are single-threaded, and for their children.
"""

import ctypes
import os
import signal
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ...domain.attempts import Usage

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)
_TASKS = "/proc/self/task"
_KNOWS_CHILDREN = Path("/proc/thread-self/children").exists()
"""Whether the kernel lists them (CONFIG_PROC_CHILDREN)."""


def be_called(name: str) -> None:
    """The name of this process in `ps -o comm` and `top`: at most 15 bytes. Source: PR_SET_NAME(2const)."""
    _libc.prctl(PR_SET_NAME, name.encode(), 0, 0, 0)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends. Source: PR_SET_CHILD_SUBREAPER(2const).

    A process that its handler has made a daemon would otherwise fall to PID 1. The children of a process do not
    inherit this.
    """
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def die_with_parent(parent: int) -> None:
    """Be killed when this process's parent, `parent`, ends. Source: PR_SET_PDEATHSIG(2const)."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before
        os._exit(1)


def live_on() -> None:
    """Take back `die_with_parent`."""
    _libc.prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0)


def children() -> set[int]:
    """The children of this process, those that have ended but are not reaped included."""
    if not _KNOWS_CHILDREN:
        return {pid for pid in _all_processes() if _parent_of(pid) == os.getpid()}
    found: set[int] = set()
    with os.scandir(_TASKS) as tasks:
        for task in tasks:
            with suppress(FileNotFoundError):  # a thread that has just ended
                found.update(map(int, _read(f"{task.path}/children").split()))
    return found


def _read(path: str) -> bytes:
    """A file of /proc: `Path` takes several times as long, and every attempt ends with this."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        read = b""
        while more := os.read(descriptor, 65536):
            read += more
        return read
    finally:
        os.close(descriptor)


class Reaped(NamedTuple):
    """A child that has ended. `code` is its exit code, negative after a signal."""

    pid: int
    code: int
    usage: Usage


def reaped() -> Iterator[Reaped]:
    """Reap every child that has ended."""
    with suppress(ChildProcessError):
        while (found := os.wait4(-1, os.WNOHANG))[0]:
            pid, status, used = found
            usage = Usage(used.ru_maxrss * 1024, used.ru_utime + used.ru_stime)  # KiB: getrusage(2)
            yield Reaped(pid, os.waitstatus_to_exitcode(status), usage)


def kill(pid: int) -> bool:
    """Kill a process. Returns `False` if that is not permitted: it is another user's, root's with `sudo` say."""
    with suppress(ProcessLookupError):
        try:
            os.kill(pid, signal.SIGKILL)
        except PermissionError:
            return False
    return True


def sweep(but: Collection[int] = ()) -> None:
    """Kill every child except those in `but`, and what falls to this process meanwhile, until none is left.

    Except for other users' processes, which go on.
    """
    spared = set(but)
    while left := children() - spared:
        spared |= {pid for pid in left if not kill(pid)}
        for pid in left - spared:
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _all_processes() -> Iterator[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())


def _parent_of(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()[1])
    except OSError:
        return None
