"""A process that others are forked from is killed when it no longer works: it was stopped, or does not respond.

Handlers run as its user, so one of them can send it SIGSTOP. Until it went on, no child would start or end. Nothing is
lost that way: what it was forked from forks it again. Linux only.
"""

import os
import signal
from contextlib import suppress
from pathlib import Path

import structlog

CHECK_EVERY_S = 0.5
STOPPED_CHECKS = 2
"""After how many checks in a row. One could see a moment in which the server goes on and this process not yet."""
SILENT_CHECKS = 60
"""How often it may owe an answer in a row. A fork of much memory takes long on a busy machine."""

log = structlog.get_logger(__name__)


class Watched:
    """A keeper or a nursery that runs. Call `check` regularly, and `close` when it has ended."""

    def __init__(self, pid: int, name: str) -> None:
        """`name` is for people."""
        self._pid = pid
        self._name = name
        self._stopped = 0
        self._silent = 0
        self._process: int | None = None
        with suppress(ProcessLookupError):  # it has ended already
            self._process = os.pidfd_open(pid)

    def check(self, *, owes_answer: bool) -> None:
        """Kill it if it is stopped, or has not responded for long. `owes_answer`: it was asked for something."""
        self._stopped = self._stopped + 1 if is_stopped(self._pid) else 0
        self._silent = self._silent + 1 if owes_answer else 0
        if self._stopped == STOPPED_CHECKS or self._silent == SILENT_CHECKS:
            reason = "it was stopped" if self._stopped else "it does not respond"
            log.error("a process that job processes are forked from is killed", process=self._name, reason=reason)
            self.kill()

    def responded(self) -> None:
        """It has sent something."""
        self._silent = 0

    def kill(self) -> None:
        """Send SIGKILL, which reaches a stopped process too."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._process, signal.SIGKILL)

    def close(self) -> None:
        """It has ended. May be called again."""
        if self._process is not None:
            os.close(self._process)
            self._process = None


def is_stopped(pid: int) -> bool:
    """Whether a process is stopped, by a signal or a tracer. Source: proc_pid_stat(5)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:  # it has ended
        return False
    return stat.rpartition(b")")[2].split()[0] in (b"T", b"t")
