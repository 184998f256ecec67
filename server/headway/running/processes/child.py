"""The main program of a child process: receives one attempt, calls its `def` handler, sends how it ended.

Imports only what a handler needs, so that a child starts quickly and stays small.
"""

import fcntl
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from ...authoring.capturing import capture_process
from ...authoring.contexts import BlockingContext
from ...authoring.declaring import declared
from ...authoring.loading import load_module
from ..calling import End, call_blocking, end_of
from .channel import BlockingChannel
from .dependencies import Dependencies
from .messages import HandlerEnded, Start
from .reporter import Reporter

NICENESS = 10


def main(descriptor: int, *, loaded: bool = False) -> NoReturn:
    """The child's whole life. Ends with `os._exit`: threads that the handler left behind do not hold it up.

    `loaded`: it was forked from a process that has imported the job modules, whose files may have changed since.
    """
    # A group, so that it can be killed as one and Ctrl-C in the terminal does not reach it. Not a session: Linux
    # weighs sessions against each other (autogroups), and then its idle class would make no difference to the server.
    os.setpgid(0, 0)
    channel = BlockingChannel(descriptor)
    start = channel.receive()
    if not isinstance(start, Start):
        os._exit(0)
    reporter = Reporter(channel)
    signal.signal(signal.SIGTERM, reporter.interruption.on_signal)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _give_way()
    dependencies = Dependencies()
    with capture_process(reporter.logs, {"job_id": start.job_id, "attempt": start.attempt}):
        end = _run(start, reporter, dependencies, loaded=loaded)
        if dependencies.to_clean_up:
            _clean_up(dependencies, end, channel, reporter)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with suppress(OSError):
        reporter.flush(final=True)
        channel.send(end)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(0)


def _run(start: Start, reporter: Reporter, dependencies: Dependencies, *, loaded: bool) -> End:
    try:
        with reporter.interruption.allowed():
            _lock(Path(start.lock_path))
            if not loaded:
                load_module(start.source)
            job_type = declared(start.type)
            context = _context(start, reporter)
            reporter.listen(context)
            return call_blocking(job_type, context, start.input_json, start.uploads, reporter.begin, dependencies.get)
    except BaseException as error:  # noqa: BLE001 - the author's module may raise anything, SystemExit too
        return end_of(error, None)


def _clean_up(dependencies: Dependencies, end: End, channel: BlockingChannel, reporter: Reporter) -> None:
    """Clean up, once the server knows how the handler ended: nothing that happens from now on changes it.

    SIGTERM does not interrupt this; if it takes too long, the server kills the process.
    """
    with suppress(OSError):
        reporter.flush(wait=True)
        channel.send(HandlerEnded(end))
    for failed in dependencies.clean_up():
        reporter.logs.add("warning", f"cleaning up {failed.factory} failed: {failed.reason}")
        with suppress(OSError):
            channel.send(failed)


def _context(start: Start, reporter: Reporter) -> BlockingContext:
    return BlockingContext(
        job_id=start.job_id,
        attempt=start.attempt,
        owner=start.owner,
        directories=start.directories,
        reported=reporter.reported,
        logs=reporter.logs,
        checkpoint_json=start.checkpoint_json,
        sync_checkpoint=reporter.checkpoint,
        nudge=reporter.nudge,
    )


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


def _lock(path: Path) -> None:
    """Lock the job until this process ends; waits for the process of an earlier attempt to die."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)  # the kernel releases it, however this process ends
