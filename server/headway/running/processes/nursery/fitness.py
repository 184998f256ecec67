"""Whether a process can be forked after an import, or a factory's call: no threads, nothing that two must not share."""

import gc
import os
import stat
import sys
import threading
import warnings
from contextlib import suppress
from pathlib import Path

DESCRIPTORS = Path("/proc/self/fd")
TASKS = Path("/proc/self/task")
AN_EVENT_LOOP = "an event loop"


def descriptors() -> frozenset[int]:
    """The descriptors that this process has open."""
    with os.scandir(DESCRIPTORS) as entries:
        found = [int(entry.name) for entry in entries]
    return frozenset(descriptor for descriptor in found if _is_open(descriptor))  # the directory's own no longer is


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def unfit_reason(before: frozenset[int], when: str = "when it is imported") -> str | None:
    """Why this process must not be forked, in words that follow "it"; `None` if it may.

    A fork has only the thread that forks, and locks that others held stay locked. `before` are the descriptors that
    were open earlier and are no concern. `when` says what may have made it so.
    """
    others = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    if others:
        return f"starts threads {when} ({', '.join(sorted(others))})"
    if _has_native_threads():
        return f"starts threads of native code {when}"
    opened = [what for descriptor in sorted(descriptors() - before) if (what := _must_not_be_shared(descriptor))]
    if opened:  # an event loop has sockets too
        return f"opens {AN_EVENT_LOOP if AN_EVENT_LOOP in opened else opened[0]} {when}"
    return None


def settle() -> None:
    """Prepare this process for being forked: its children should copy little memory, and repeat nothing."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()  # otherwise each of them writes what is buffered
    gc.collect()
    gc.disable()
    gc.freeze()  # otherwise their first collection copies the memory that they share


def _has_native_threads() -> bool:
    if _tasks() == 1:
        return False
    # Libraries that can be forked end their threads before a fork, and start them again when they need them: OpenBLAS.
    with warnings.catch_warnings(action="ignore"):  # Python 3.12 warns of what is tried here
        pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return _tasks() > 1


def _tasks() -> int:
    return len(list(TASKS.iterdir()))


def _must_not_be_shared(descriptor: int) -> str | None:
    with suppress(OSError):
        mode, target = os.fstat(descriptor).st_mode, str((DESCRIPTORS / str(descriptor)).readlink())
        if stat.S_ISSOCK(mode):
            return "a socket"
        if "eventpoll" in target or "io_uring" in target:
            return AN_EVENT_LOOP
        if stat.S_ISREG(mode) and _flags(descriptor) & os.O_ACCMODE == os.O_RDWR:
            return f"{target} for reading and writing, as SQLite does,"
    return None


def _flags(descriptor: int) -> int:
    import fcntl  # noqa: PLC0415 - only where there is a file to ask about

    return fcntl.fcntl(descriptor, fcntl.F_GETFL)
