"""The main program of a child process: receives an attempt, calls its `def` handler, sends how it ended.

Imports only what a handler needs, so that a child starts quickly and stays small.
"""

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ....authoring.capturing import capture_process
from ....authoring.declaring import declared
from ....authoring.loading import load_module
from ....errors import JobCancelled
from ...calling import End, Needs, Raised, Stopped, call_blocking, end_of
from ...cgroups.cgroup import cgroup_of
from ..channel import SOCKET_LOST, BlockingChannel
from ..messages import HandlerEnded, Start, Stays, Used
from .dependencies import NOTHING, Dependencies, Made
from .forks import end_if_forked
from .job_lock import JobLock
from .measuring import UsageMeter
from .rehearsal import context_of, rehearse
from .reporter import Reporter
from .upkeep import Upkeep

if TYPE_CHECKING:
    from ....authoring.contexts import BlockingContext

NICENESS = 10


def main(descriptor: int, *, loaded: bool = False, made: Made = NOTHING, cgroups: str = "") -> NoReturn:
    """The child's whole life. Ends with `os._exit`: threads that the handler left behind do not hold it up.

    `loaded`: it was forked from a process that has imported the job modules, whose files may have changed since.
    `made`: the dependencies that it shares with its siblings. `cgroups`: where it makes a cgroup for itself, unless it
    has been born into one.
    """
    if cgroups:
        with suppress(OSError):  # then it is contained like where there are no cgroups
            cgroup_of(os.getpid(), Path(cgroups)).enter()
    # A group, so that it can be killed as one and Ctrl-C in the terminal does not reach it. Not a session: Linux
    # weighs sessions against each other (autogroups), and then its idle class would make no difference to the server.
    os.setpgid(0, 0)
    process = _Process(BlockingChannel(descriptor), Dependencies(made), loaded=loaded)
    process.live()
    os._exit(process.exit_code)


class _Process:
    """What this process does: one attempt, or one after the other if their type keeps processes."""

    def __init__(self, channel: BlockingChannel, dependencies: Dependencies, *, loaded: bool) -> None:
        self.exit_code = 0
        self._pid = os.getpid()
        self._channel = channel
        self._loaded = loaded
        self._forked = loaded
        self._meter = UsageMeter()
        self._dependencies = dependencies
        self._upkeep = Upkeep()

    def live(self) -> None:
        """Run attempts until one of them is the last, or the server wants no more."""
        _give_way()
        if self._forked and not self._channel.readable(0):
            rehearse(listens=True)
        start = self._next_start()
        while start is not None:
            if not self._stays_after(start):
                return
            start = self._next_start()
        for failed in self._dependencies.clean_up():
            with suppress(OSError):
                self._channel.send(failed)

    def _next_start(self) -> Start | None:
        """The next attempt. A cancel that comes between two is for one that has ended."""
        while (message := self._channel.receive()) is not None:
            if isinstance(message, Start):
                return message
        return None

    def _stays_after(self, start: Start) -> bool:
        """Run an attempt and send how it ended. Whether the process may run another one."""
        reporter = Reporter(self._channel)
        signal.signal(signal.SIGTERM, reporter.interruption.on_signal)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        attempt = _Attempt(start, reporter, self._dependencies, self._upkeep)
        with capture_process(reporter.logs, {"job_id": start.job_id, "attempt": start.attempt}):
            end = attempt.run(loaded=self._loaded)
            end_if_forked(self._pid, _raised_by(end))
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            stays = attempt.stays_after(end)
            if not stays and self._dependencies.to_clean_up:
                attempt.clean_up(end, self._channel)
        try:
            reporter.flush(final=True)
            measured = [] if self._forked and not stays else [Used(self._meter.read())]
            self._channel.send(*measured, *([Stays()] if stays else []), end)
        except OSError:  # the handler has closed it, unless the server is gone
            self.exit_code = SOCKET_LOST
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        self._loaded = True
        return stays


class _Attempt:
    """One attempt in this process."""

    def __init__(self, start: Start, reporter: Reporter, dependencies: Dependencies, upkeep: Upkeep) -> None:
        self._start = start
        self._reporter = reporter
        self._dependencies = dependencies
        self._upkeep = upkeep
        self._lock: JobLock | None = None
        self._context: BlockingContext | None = None

    def run(self, *, loaded: bool) -> End:
        """Call the handler. Never raises."""
        start, reporter = self._start, self._reporter
        try:
            with reporter.interruption.allowed():
                self._lock = JobLock.acquire(Path(start.lock_path))
                if not loaded:
                    load_module(start.source)
                job_type = declared(start.type)
                self._upkeep.begin(job_type)
                self._context = context = context_of(start, reporter)
                reporter.listen(context)
                return call_blocking(job_type, context, start.input_json, start.uploads, reporter.begin, self._set_up)
        except BaseException as error:  # noqa: BLE001 - the author's module may raise anything, SystemExit too
            return end_of(error, None)

    def _set_up(self, needs: Needs) -> dict[str, Any]:
        with self._upkeep.setting_up():
            return self._dependencies.get(needs)

    def stays_after(self, end: End) -> bool:
        """Whether the process may run another attempt; then nothing of this one is left in it."""
        stopped = isinstance(end, Stopped) or (self._context is not None and self._context.cancelled)
        if stopped or not self._upkeep.keeps:
            return False
        self._reporter.close()
        stays = self._upkeep.makes_ready(self._reporter.logs)
        if stays and self._lock is not None:
            self._lock.release()
        return stays

    def clean_up(self, end: End, channel: BlockingChannel) -> None:
        """Clean up, once the server knows how the handler ended: nothing that happens from now on changes it.

        SIGTERM does not interrupt this; if it takes too long, the server kills the process.
        """
        with suppress(OSError):
            self._reporter.flush(wait=True)
            channel.send(HandlerEnded(end))
        for failed in self._dependencies.clean_up():
            self._reporter.logs.note("warning", f"cleaning up {failed.factory} failed: {failed.reason}")
            with suppress(OSError):
                channel.send(failed)


def _raised_by(end: End) -> BaseException | None:
    match end:
        case Raised(exception=error):
            return error
        case Stopped():
            return JobCancelled()
        case _:
            return None


def _give_way() -> None:
    """Let the server go first, since people wait for it: polls stay quick on a busy machine.

    However nice a running task is, Linux lets it use up its slice of some milliseconds before a waking task runs; only
    a task of the idle class gives way at once (sched(7)). It still gets all the time that nobody else wants.
    """
    with suppress(OSError):
        os.nice(NICENESS)
    if hasattr(os, "SCHED_IDLE"):
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
