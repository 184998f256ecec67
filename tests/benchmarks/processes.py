"""The processes of a benchmark: each on its core, and their CPU time and memory."""

import os
import resource
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

SERVER_CORE = 0
LOAD_CORE = (os.cpu_count() or 1) - 1


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Processes started in this context run on this core, their children included."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def cpu_s(pids: Iterable[int]) -> float:
    """The CPU time that these processes have used.

    As counted by the scheduler (Linux, `schedstat`): `utime` and `stime` exclude what the kernel's network code does
    in interrupts while the sender runs, which is a third of the work on loopback.
    """
    ns = 0
    for pid in pids:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            ns += int((thread / "schedstat").read_text().split()[0])
    return ns / 1e9


def resident_kib(pids: Iterable[int]) -> int:
    """The memory of these processes; a page shared by several counts in part for each (PSS)."""
    kib = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                kib += int(line.split()[1])
    return kib


def raise_file_limit() -> None:
    """Raise the limit of open files, for ten thousand sockets; processes started from here inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
