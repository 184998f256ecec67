"""What a handler can change about its process, memory aside. It is put back before the process runs another attempt."""

import faulthandler
import os
import resource
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Self

_LIMITS: Mapping[int, str] = MappingProxyType(
    {getattr(resource, name): name for name in sorted(dir(resource)) if name.startswith("RLIMIT_")}
)
_ITIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
_POSIX_TIMERS = "/proc/self/timers"
_MOST_BYTES = 65536
"""Of the list of timers that are read: some hundreds."""
_SIGNALS = tuple(signal.valid_signals() - {signal.SIGTERM, signal.SIGINT})
"""Those whose handlers no attempt sets itself."""


class Surroundings(NamedTuple):
    """As they were when the process was set up. Used by its main thread."""

    limits: Mapping[int, tuple[int, int]]
    blocked: set[int]
    handlers: Mapping[int, Any]
    posix_timers: bytes
    umask: int
    directory: Path | None

    @classmethod
    def now(cls) -> Self:
        """Those of this process; some tens of microseconds."""
        return cls(
            {limit: resource.getrlimit(limit) for limit in _LIMITS},
            _blocked(),
            {number: signal.getsignal(number) for number in _SIGNALS},
            _posix_timers(),
            _umask(),
            _directory(),
        )

    def restore(self) -> str | None:
        """Put back what has changed. What cannot be, in words; then the process is not to run another attempt."""
        reason = self._restore_limits()  # first: with too little memory, anything else may fail
        faulthandler.cancel_dump_traceback_later()
        os.umask(self.umask)
        return reason or self._blocks() or self._timers() or self._restore_handlers() or self._restore_directory()

    def _restore_limits(self) -> str | None:
        for limit, before in self.limits.items():
            if resource.getrlimit(limit) != before:
                try:
                    resource.setrlimit(limit, before)
                except (OSError, ValueError):  # only root may raise the hard one
                    return f"it has left a limit that cannot be raised again: {_LIMITS[limit]}"
        return None

    def _blocks(self) -> str | None:
        """Not put back: one of them that has been sent would come at once."""
        if (now := _blocked()) == self.blocked:
            return None
        names = ", ".join(signal.Signals(number).name for number in sorted(now - self.blocked))
        return f"it has left signals blocked: {names}" if names else "it has left signals unblocked"

    def _timers(self) -> str | None:
        if any(signal.getitimer(timer)[0] for timer in _ITIMERS) or _posix_timers() != self.posix_timers:
            return "it has left a timer running, whose signal would come in the next job"
        return None

    def _restore_handlers(self) -> str | None:
        for number, before in self.handlers.items():
            if signal.getsignal(number) is not before:
                try:
                    signal.signal(number, before)
                except TypeError:  # it was not Python that had set it
                    return f"it has left another handler of a signal: {signal.Signals(number).name}"
        return None

    def _restore_directory(self) -> str | None:
        if self.directory is not None and _directory() != self.directory:
            try:
                os.chdir(self.directory)
            except OSError as error:
                return f"it has left its working directory, which cannot be entered again: {error.strerror}"
        return None


def _blocked() -> set[int]:
    return signal.pthread_sigmask(signal.SIG_BLOCK, ())


def _umask() -> int:
    umask = os.umask(0o077)  # there is no call that only reads it
    os.umask(umask)
    return umask


def _directory() -> Path | None:
    with suppress(OSError):  # it has been deleted
        return Path.cwd()
    return None


def _posix_timers() -> bytes:
    """Those of timer_create(2), which libraries in C may use; empty where the system does not tell. Source: proc(5)."""
    with suppress(OSError):
        descriptor = os.open(_POSIX_TIMERS, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(descriptor, _MOST_BYTES)
        finally:
            os.close(descriptor)
    return b""
