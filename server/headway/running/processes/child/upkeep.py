"""What a process that runs one attempt after the other does between them, and when it is to be replaced."""

import _thread
import os
import resource
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, Self

from ....authoring.job_types import JobType
from ....authoring.reporting import LogBuffer
from .. import kin
from .surroundings import Surroundings

DIE_WITHIN_S = 2.0
"""How long killed processes may take to be gone: the kernel may hold one up, in a dead NFS mount say."""
NAMELESS = "one without a name"
"""A thread that `threading` does not know, or no longer since it is just ending."""
THREADS_SETTLE_WITHIN_S = 0.2
"""How long threads that are just beginning or ending may take."""
_MIB = 1024 * 1024
_HAS_PROC = sys.platform == "linux"
_OWN_MEMORY = ("Private_Clean:", "Private_Dirty:", "Swap:")


class Upkeep:
    """Knows what belongs to the process, and what an attempt has left in it. Used by the process's main thread."""

    def __init__(self) -> None:
        self._job_type: JobType | None = None
        self._attempts = 0
        self._setting_up = False
        self._own_processes: set[int] = set()
        self._own_threads = _Threads(frozenset(), 0, 0)
        self._surroundings: Surroundings | None = None

    def begin(self, job_type: JobType) -> None:
        """An attempt begins: what there is belongs to the process."""
        if not job_type.keep_process:
            return
        self._job_type = job_type
        if not self._attempts and _HAS_PROC:
            kin.adopt_orphans()  # otherwise what a handler has made a daemon falls to somebody else
        self._attempts += 1
        self._take_stock()

    @contextmanager
    def setting_up(self) -> Iterator[None]:
        """While dependencies are set up: what they start stays. If that fails, they may be there in part."""
        self._setting_up = True
        yield
        self._setting_up = False
        if self.keeps:
            self._take_stock()
            if self._surroundings is None:  # later attempts set nothing up: there is all that the type needs
                self._surroundings = Surroundings.now()

    @property
    def keeps(self) -> bool:
        """Whether the attempt's type keeps its processes."""
        return self._job_type is not None

    def makes_ready(self, logs: LogBuffer) -> bool:
        """Kill the processes that the attempt has left, and put back what it has changed about this one.

        Whether another attempt may run; if not, the log says why.
        """
        if self._job_type is None or self._setting_up or self._surroundings is None:
            return False
        reason = self._surroundings.restore() or self._too_full(self._job_type) or self._not_cleared()
        if reason is not None:
            logs.note("warning", f"the process is replaced: {reason}")
            return False
        return self._attempts != self._job_type.max_jobs_per_process

    def _not_cleared(self) -> str | None:
        if _HAS_PROC and not self._kill_others():
            return "it has left a process that cannot be killed"
        by_s = time.monotonic() + THREADS_SETTLE_WITHIN_S
        while True:
            now = _Threads.now()
            left = now.beside(self._own_threads)
            ending, beginning = set(left) == {NAMELESS}, not left and now.others > self._own_threads.others
            if not (ending or beginning) or time.monotonic() > by_s:
                return f"it has left threads running: {', '.join(left)}" if left else None
            time.sleep(0.001)

    def _too_full(self, job_type: JobType) -> str | None:
        limit_mib = job_type.max_mib_per_process
        if limit_mib is None or (used_mib := own_mib()) <= limit_mib:
            return None
        return f"it has {used_mib:,.0f} MiB of memory of its own, more than {limit_mib:,.0f}"

    def _take_stock(self) -> None:
        self._own_threads = _Threads.now()
        if _HAS_PROC:
            self._own_processes = kin.children()

    def _kill_others(self) -> bool:
        """Kill what has been started since, and what falls to this process then. Whether nothing is left."""
        by_s = time.monotonic() + DIE_WITHIN_S
        while others := kin.children() - self._own_processes:
            permitted = [kin.kill(pid) for pid in others]
            for pid in others:
                with suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
            if not all(permitted) or time.monotonic() > by_s:
                return False
            time.sleep(0.001)
        return True


class _Threads(NamedTuple):
    """The threads that Python has started.

    Threads of native code are not among them: libraries keep pools of those.
    """

    named: frozenset[threading.Thread]
    nameless: int
    """How many have been started with `_thread` alone, and have begun to run."""
    others: int
    """Those of native code, and those that have not begun; 0 where the system does not tell."""

    @classmethod
    def now(cls) -> Self:
        named = frozenset(threading.enumerate())
        not_started = (threading._MainThread, threading._DummyThread)  # type: ignore[attr-defined] # noqa: SLF001
        started = sum(not isinstance(thread, not_started) for thread in named)
        nameless = _thread._count() - started  # noqa: SLF001 - no other way
        in_all = sum(1 for _ in Path("/proc/self/task").iterdir()) if _HAS_PROC else len(named) + nameless
        return cls(named, nameless, in_all - len(named) - nameless)

    def beside(self, others: Self) -> list[str]:
        """The names of those that are not among `others`."""
        names = sorted(thread.name for thread in self.named - others.named)
        return [*names, *[NAMELESS] * (self.nameless - others.nameless)]


def own_mib() -> float:
    """The memory that would be free without this process: what it shares with others, a loaded model say, is not in it.

    Source: proc_pid_smaps(5). Where there is no /proc, the most that it has had.
    """
    with suppress(OSError):
        lines = Path("/proc/self/smaps_rollup").read_text("ascii").splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith(_OWN_MEMORY)) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / _MIB if sys.platform == "darwin" else peak / 1024
