"""What a process that runs one attempt after the other does between them, and when it is to be replaced."""

import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ....authoring.job_types import JobType
from ....authoring.reporting import LogBuffer
from .. import kin

DIE_WITHIN_S = 2.0
"""How long killed processes may take to be gone: the kernel may hold one up, in a dead NFS mount say."""
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
        self._own_threads: set[threading.Thread] = set()

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

    @property
    def keeps(self) -> bool:
        """Whether the attempt's type keeps its processes."""
        return self._job_type is not None

    def makes_ready(self, logs: LogBuffer) -> bool:
        """Kill the processes that the attempt has left. Whether another attempt may run; if not, the log says why."""
        if self._job_type is None or self._setting_up:
            return False
        reason = self._too_full(self._job_type) or self._not_cleared()
        if reason is not None:
            logs.note("warning", f"the process is replaced: {reason}")
            return False
        return self._attempts != self._job_type.max_jobs_per_process

    def _not_cleared(self) -> str | None:
        if _HAS_PROC and not self._kill_others():
            return "it has left a process that cannot be killed"
        threads = sorted(each.name for each in set(threading.enumerate()) - self._own_threads)
        return f"it has left threads running: {', '.join(threads)}" if threads else None

    def _too_full(self, job_type: JobType) -> str | None:
        limit_mib = job_type.max_mib_per_process
        if limit_mib is None or (used_mib := own_mib()) <= limit_mib:
            return None
        return f"it has {used_mib:,.0f} MiB of memory of its own, more than {limit_mib:,.0f}"

    def _take_stock(self) -> None:
        self._own_threads = set(threading.enumerate())
        if _HAS_PROC:
            self._own_processes = kin.children()

    def _kill_others(self) -> bool:
        """Kill what has been started since, and what falls to this process then. Whether nothing is left."""
        by_s = time.monotonic() + DIE_WITHIN_S
        while others := kin.children() - self._own_processes:
            for pid in others:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            for pid in others:
                with suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
            if time.monotonic() > by_s:
                return False
            time.sleep(0.001)
        return True


def own_mib() -> float:
    """The memory that would be free without this process: what it shares with others, a loaded model say, is not in it.

    Source: proc_pid_smaps(5). Where there is no /proc, the most that it has had.
    """
    with suppress(OSError):
        lines = Path("/proc/self/smaps_rollup").read_text("ascii").splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith(_OWN_MEMORY)) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / _MIB if sys.platform == "darwin" else peak / 1024
