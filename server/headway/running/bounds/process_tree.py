"""What a process and everything that it has started use, as Linux tells it in /proc. Sources: proc(5) and its pages."""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ..cgroups.cgroup import Cgroup

KNOWN = Path("/proc/self/smaps_rollup").exists() and Path("/proc/thread-self/children").exists()
"""Whether the kernel tells it: not outside Linux, and not without CONFIG_PROC_CHILDREN."""
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_KIB_PER_MIB = 1024
_PROC = Path("/proc")


class _Process(NamedTuple):
    """The part of /proc/PID/stat that is needed. Times are in clock ticks."""

    started: int
    cpu: int
    """Its own CPU time and that of the children that it has waited for."""


class _Memory(NamedTuple):
    """KiB of memory: what only this process has, and its share of all that is in no file."""

    private: int = 0
    anonymous_share: int = 0

    def __add__(self, other: object) -> "_Memory":
        if not isinstance(other, _Memory):
            return NotImplemented
        return _Memory(self.private + other.private, self.anonymous_share + other.anonymous_share)


class ProcessTree:
    """A process and its descendants. What they used before this was made is not counted.

    A look takes 0.1 to 0.2 ms of CPU time a process, and 1 to 2.6 ms for each 100 MiB of small pages if it has to be
    a close one (Linux 6.18, a shared core: `python -m tests.benchmarks limits`). Nothing is read of a process that has
    ended, or of another one that has its id now.
    """

    def __init__(self, pid: int, cgroup: Cgroup | None = None) -> None:
        """`cgroup`: that of the process, if it has one. Daemons are found there even when their parent has ended."""
        self._pid = pid
        self._cgroup = cgroup
        root = _process(pid)
        self._started = None if root is None else root.started
        self._inherited_kib = _kib(_PROC / str(pid) / "smaps_rollup").get("Anonymous", 0)
        """Memory that it shares with the process it was forked from. Its descendants share it too."""
        family = self.read()
        self._processes_before = max(0, len(family) - 1)
        self._cpu_s_before = self._cpu_s = _cpu_s(family)
        self._cgroups_cpu_s_before = self._cgroups_cpu_s()
        self._mib_before = self._mib(family)

    def read(self) -> Mapping[int, _Process]:
        """The processes that there are now, by id."""
        root = _process(self._pid)
        if root is None or root.started != self._started:
            return {}
        family, unread = {self._pid: root}, [self._pid]
        for pid in () if self._cgroup is None else self._cgroup.processes():
            process = None if pid in family else _process(pid)
            if process is not None:
                family[pid] = process
                unread.append(pid)
        while unread:
            # A parent is read before its children: one that is reaped in between is not counted twice.
            for pid in _children(unread.pop()):
                process = None if pid in family else _process(pid)
                if process is not None:
                    family[pid] = process
                    unread.append(pid)
        return family

    def processes(self, family: Mapping[int, _Process]) -> int:
        """How many there are, with the first one."""
        return len(family) - self._processes_before

    def cpu_s(self, family: Mapping[int, _Process]) -> float:
        """The CPU time used so far. It never falls, though a process that nobody waits for takes its own along."""
        self._cpu_s = max(self._cpu_s, _cpu_s(family))
        return max(self._cpu_s - self._cpu_s_before, self._cgroups_cpu_s() - self._cgroups_cpu_s_before)

    def _cgroups_cpu_s(self) -> float:
        """What is used in the cgroup: that of processes that nobody waits for does not get lost there."""
        return 0.0 if self._cgroup is None else self._cgroup.cpu_s

    def mib_over(self, limit_mib: float, family: Mapping[int, _Process]) -> float | None:
        """The memory that only these processes have, if it is more than `limit_mib`."""
        # Resident and swapped memory is quick to read. It counts what is shared each time, so it is never too low.
        if sum(_resident_kib(pid) for pid in family) / _KIB_PER_MIB <= limit_mib:
            return None
        mib = self._mib(family) - self._mib_before
        return mib if mib > limit_mib else None

    def _mib(self, family: Mapping[int, _Process]) -> float:
        """What each process has for itself, and what they share with each other only.

        A process that fills its memory and forks shares it, and then it is nobody's own. The shares of all of them add
        up to it, and to a part of what was inherited. All of that is left out, so that
        too little is counted rather than too much.
        """
        memory = sum((_memory(pid) for pid in family), _Memory())
        among_them = max(0, memory.anonymous_share - memory.private - self._inherited_kib)
        return (memory.private + among_them) / _KIB_PER_MIB


def _cpu_s(family: Mapping[int, _Process]) -> float:
    return sum(process.cpu for process in family.values()) / _TICKS_PER_S


def _process(pid: int) -> _Process | None:
    """`None` if it is gone."""
    with suppress(OSError, IndexError):  # empty if it goes just now
        # The name comes before the last bracket, and may hold anything. After it, the first field is the third.
        fields = (_PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
        return _Process(started=int(fields[19]), cpu=sum(map(int, fields[11:15])))
    return None


def _children(pid: int) -> Iterator[int]:
    with suppress(OSError):
        for task in (_PROC / str(pid) / "task").iterdir():
            with suppress(OSError):
                yield from map(int, (task / "children").read_bytes().split())


def _memory(pid: int) -> _Memory:
    """A process that does not let others look into it is taken to share nothing."""
    found = _kib(_PROC / str(pid) / "smaps_rollup")
    if not found:
        found = _kib(_PROC / str(pid) / "status")
        own = sum(found.get(field, 0) for field in ("RssAnon", "RssShmem", "VmSwap"))
        return _Memory(own, own)
    private = found.get("Private_Clean", 0) + found.get("Private_Dirty", 0)
    swapped = found.get("SwapPss", 0)
    return _Memory(private + swapped, found.get("Pss_Anon", 0) + swapped)


def _resident_kib(pid: int) -> int:
    found = _kib(_PROC / str(pid) / "status")
    return found.get("VmRSS", 0) + found.get("VmSwap", 0)


def _kib(path: Path) -> dict[str, int]:
    """The sizes in a file of /proc; empty if it cannot be read, or says nothing of a process that has ended."""
    try:
        lines = path.read_text("ascii", "replace").splitlines()
    except OSError:
        return {}
    split = (line.split() for line in lines if line.endswith(" kB"))
    return {words[0].rstrip(":"): int(words[1]) for words in split}
