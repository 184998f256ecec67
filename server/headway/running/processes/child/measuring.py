"""What this process has used for an attempt, for where its parent cannot tell.

A parent learns what a child has used in its whole life: not by attempt, if it runs several, and not from asyncio.
"""

import resource
import sys
from contextlib import suppress
from pathlib import Path

from ....domain.attempts import Usage

_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024
"""Of `ru_maxrss`: getrusage(2)."""
_PEAK = b"VmHWM:"
_RESET_PEAK = b"5"


class UsageMeter:
    """Measures what this process and those that it has waited for use."""

    def __init__(self) -> None:
        self._cpu_s = 0.0
        self._descendants_peak_bytes = 0

    def read(self) -> Usage:
        """What has been used since the last call, or since the process began.

        The kernel keeps one peak for all descendants, so a later one only counts if it is higher.
        """
        own, below = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu_s = own.ru_utime + own.ru_stime + below.ru_utime + below.ru_stime
        peak_bytes, descendants_peak_bytes = _own_peak_bytes(own), below.ru_maxrss * _UNIT_BYTES
        if descendants_peak_bytes > self._descendants_peak_bytes:
            peak_bytes = max(peak_bytes, descendants_peak_bytes)
        usage = Usage(peak_bytes, cpu_s - self._cpu_s)
        self._cpu_s, self._descendants_peak_bytes = cpu_s, descendants_peak_bytes
        _reset_peak()
        return usage


def _own_peak_bytes(own: resource.struct_rusage) -> int:
    """From /proc where there is one: after an exec, `ru_maxrss` is at least the memory of the program before it."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_bytes().splitlines():
            if line.startswith(_PEAK):
                return int(line.split()[1]) * 1024
    return own.ru_maxrss * _UNIT_BYTES


def _reset_peak() -> None:
    """Let the peak begin anew, where there is a /proc. Source: proc_pid_clear_refs(5)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_bytes(_RESET_PEAK)
