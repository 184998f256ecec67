"""A `def` handler's side of its process: receives one attempt, calls the handler, reports over a socket.

Runs as the main program of a child (see `isolation`). Imports only what a handler needs, so that it starts
fast and stays small. One thread listens to the server and sends progress; the main thread is the handler's.
"""

import fcntl
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from ...authoring.contexts import BlockingContext
from ...authoring.declaring import declared
from ...authoring.job_types import JobType
from ...authoring.loading import load_module
from ...authoring.reporting import LogBuffer, Reported
from ...authoring.uploads import Upload
from ...errors import ClaimLostError, JobCancelled, JobFailed, StoreUnavailableError
from ...ports.files import Directories
from ..calling import MAX_RESULT_BYTES, describe, invalid_input, invalid_output, result_too_large
from .channel import Channel, Message

FLUSH_EVERY_S = 0.05
"""Twice for each of the server's ticks: at the same pace, the two would miss each other now and then."""
QUIET_AFTER_S = 0.1
"""A handler that has reported nothing for so long has its reports sent by the other thread."""
NICENESS = 10


class Interruption:
    """SIGTERM as an exception in the handler's thread, but never in the middle of a message to the server."""

    def __init__(self) -> None:
        self._held = False
        self._pending = False

    def heard(self, _signal: int, _frame: object) -> None:
        if self._held:
            self._pending = True
        else:
            raise JobCancelled

    @contextmanager
    def held(self) -> Iterator[None]:
        """For the handler's thread while it speaks to the server."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self._pending:
            self._pending = False
            raise JobCancelled


class Reporter:
    """Carries progress and log lines to the server ten times a second, and its words to the handler.

    A handler that reports often carries its reports itself: beside one that reads files in small pieces, another
    thread would hardly get the interpreter, since it goes from hand to hand without ever being free.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.interruption = Interruption()
        self._flushed_s = time.monotonic()
        self._flushing = threading.Lock()
        self.reported = Reported()
        self.logs = LogBuffer()
        self.context: BlockingContext | None = None
        self._answers: list[Message] = []
        self._answered = threading.Condition()

    def run(self) -> None:
        """Until the server is gone: then this whole process group ends, whatever the handler does."""
        while True:
            if self._channel.readable(FLUSH_EVERY_S):
                message = self._channel.receive()
                if message is None:
                    os.killpg(os.getpgrp(), signal.SIGKILL)
                    return
                self._hear(message)
            if time.monotonic() - self._flushed_s > QUIET_AFTER_S:
                with suppress(OSError):  # the server is gone: the next receive says so
                    self.flush()

    def nudge(self) -> None:
        """Called with every report, by the handler's thread."""
        if time.monotonic() - self._flushed_s > FLUSH_EVERY_S:
            with suppress(OSError), self.interruption.held():
                self.flush()

    def flush(self, *, final: bool = False) -> None:
        if not self._flushing.acquire(blocking=final):
            return  # another thread is at it
        try:
            self._flushed_s = time.monotonic()
            self._flush(final=final)
        finally:
            self._flushing.release()

    def _flush(self, *, final: bool) -> None:
        message: Message = {}
        if values := self.reported.take():
            message["progress"] = [_plain(value) for value in values]
        if lines := self.logs.take(final=final):
            message["log"] = [[line.at.isoformat(), line.level, line.message] for line in lines]
        if message:
            self._channel.send(message)

    def began(self) -> None:
        """Say that the handler runs from now on: until then its process was only being made ready."""
        with self.interruption.held():
            self._channel.send({"began": True})

    def checkpoint(self, checkpoint_json: str) -> None:
        """Hand a checkpoint over and wait until it is durable."""
        with self.interruption.held():
            self._channel.send({"checkpoint": checkpoint_json})
        with self._answered:
            self._answered.wait_for(lambda: self._answers)
            answer = self._answers.pop()
        if answer["answer"] == "lost":
            raise ClaimLostError("this attempt is not the job's current one")
        if answer["answer"] != "stored":
            raise StoreUnavailableError("the checkpoint could not be stored")

    def _hear(self, message: Message) -> None:
        if "answer" in message:
            with self._answered:
                self._answers.append(message)
                self._answered.notify()
        elif "cancel" in message and self.context is not None:
            self.context._cancelled = True  # noqa: SLF001 - set by the server's side only


def _plain(value: Any) -> Any:
    """A reported value as JSON takes it: numpy's numbers become Python's, anything odd becomes text."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    with suppress(TypeError, ValueError, AttributeError):
        return value.item()
    return str(value)


def main(descriptor: int) -> NoReturn:
    """The child's whole life. Ends by `os._exit`: threads that the handler left behind do not hold it up."""
    # A group to be killed as one, which Ctrl-C in the terminal does not reach. Not a session: Linux weighs whole
    # sessions against each other (autogroups), and then how this task is scheduled would not matter to the server.
    os.setpgid(0, 0)
    channel = Channel(descriptor)
    start = channel.receive()
    if start is None:
        os._exit(0)
    reporter = Reporter(channel)
    signal.signal(signal.SIGTERM, reporter.interruption.heard)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _be_modest()
    final = _attempt(start, reporter)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with suppress(OSError):
        reporter.flush(final=True)
        channel.send(final)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(0)


def _attempt(start: Message, reporter: Reporter) -> Message:
    """Run the handler: the final message."""
    listening = threading.Thread(target=reporter.run, name="headway-reporter", daemon=True)
    job_type: JobType | None = None
    try:
        _hold(Path(start["lock"]))
        load_module(start["source"])
        job_type = declared(start["type"])
        context = _context(start, reporter)
        reporter.context = context
        listening.start()
        parsed = _parse(job_type, start)
        reporter.began()
        result = job_type.call(context, parsed)
        return {"completed": _encode(job_type, result), "result_url": context.result_url}
    except JobFailed as failure:
        return {"failed": [failure.type, failure.title, failure.detail, failure.status]}
    except JobCancelled:
        return {"stopped": True}
    except BaseException as error:  # noqa: BLE001 - SystemExit too: the process is the handler's
        final = job_type is not None and isinstance(error, job_type.no_retry)
        return {"raised": describe(error), "traceback": traceback.format_exc(), "final": final}


def _context(start: Message, reporter: Reporter) -> BlockingContext:
    return BlockingContext(
        job_id=start["job_id"],
        attempt=start["attempt"],
        owner=start["owner"],
        directories=Directories(start["work"], start["output"], start["data"]),
        reported=reporter.reported,
        logs=reporter.logs,
        checkpoint_json=start["checkpoint"],
        sync_checkpoint=reporter.checkpoint,
        nudge=reporter.nudge,
    )


def _parse(job_type: JobType, start: Message) -> Any:
    uploads = {
        field: Upload(Path(path), filename, content_type, size)
        for field, path, filename, content_type, size in start["uploads"]
    }
    try:
        return job_type.parse_input(start["input"], uploads)
    except ValidationError as error:
        raise JobFailed(**invalid_input(error)) from error


def _encode(job_type: JobType, result: Any) -> str:
    try:
        encoded = job_type.encode_output(result)
    except ValidationError as error:
        raise JobFailed(**invalid_output(error)) from error
    if len(encoded) > MAX_RESULT_BYTES:
        raise JobFailed(**result_too_large())
    return encoded


def _be_modest() -> None:
    """Give way to the server, which has people waiting: on a busy machine polls stay quick.

    Linux lets a waking task wait until the running one has had its slice of some milliseconds, however nice that
    is; only an idle-class task gives way at once (sched(7)). It still has all the time that nobody else wants.
    """
    with suppress(OSError):
        os.nice(NICENESS)
    if hasattr(os, "SCHED_IDLE"):
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def _hold(path: Path) -> None:
    """Lock the job until this process ends; waits for an earlier attempt's process to die."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)  # the kernel lets go of it, however this process ends
