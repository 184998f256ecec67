"""The processes of a benchmark: each on its core, and what it costs in time and memory."""

import os
import resource
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

SERVER_CORE = 0
LOAD_CORE = (os.cpu_count() or 1) - 1


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """What is started meanwhile stays on this core, with all that it starts."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def cpu_s(pids: Iterable[int]) -> float:
    """Processor time that these processes have used, whatever for.

    By the scheduler's count (Linux, `schedstat`): `utime` and `stime` leave out what the kernel's network code does
    in interrupts on the sender's account, on loopback a third of the work.
    """
    ns = 0
    for pid in pids:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            ns += int((thread / "schedstat").read_text().split()[0])
    return ns / 1e9


def resident_kib(pids: Iterable[int]) -> int:
    """What these processes hold in memory; a page that several share counts in part for each (PSS)."""
    kib = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                kib += int(line.split()[1])
    return kib


def raise_file_limit() -> None:
    """Ten thousand sockets need as many descriptors; the processes that are started from here inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
