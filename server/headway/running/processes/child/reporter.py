"""The child's side of the conversation: reports of the handler go to the server, cancels and answers to the handler."""

import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from ....authoring.contexts import BlockingContext
from ....authoring.reporting import LogBuffer, Reported
from ....domain.progress import finite, text_of
from ....errors import ClaimLostError, JobCancelled, StoreUnavailableError
from ....limits import MESSAGE_CHARS, WORD_CHARS
from ..channel import SOCKET_LOST, BlockingChannel, GarbledMessageError
from ..messages import (
    LINES_PER_REPORT,
    Began,
    Cancel,
    Checkpoint,
    CheckpointAnswer,
    CheckpointOutcome,
    Message,
    Report,
)

FLUSH_EVERY_S = 0.05
"""Half the server's tick, so that no tick passes without a report. After a quiet time two reports are sent at once."""
QUIET_AFTER_S = 0.1
"""When the handler has sent no report of its own for this long, the other thread sends what it has held back."""
CHECK_EVERY_S = 1.0
"""A socket that the handler closes stays open while the other thread waits for it."""


_NOTHING = Report(None, ())


class Interruption:
    """SIGTERM as an exception in the handler's thread: while the handler runs, never in a message to the server."""

    def __init__(self) -> None:
        self._held = True
        self._pending = False
        self._thread = threading.get_ident()

    def on_signal(self, _signal: int, _frame: object) -> None:
        """The signal handler."""
        if self._held:
            self._pending = True
        else:
            raise JobCancelled

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """Let the exception come in this block, at its beginning if the signal has been sent before."""
        self._held = False
        try:
            self._raise_pending()
            yield
        finally:
            self._held = True

    @contextmanager
    def held(self) -> Iterator[None]:
        """Postpone the exception to the end of the block. For the handler's thread while it sends."""
        if threading.get_ident() != self._thread:  # signals only interrupt the main thread
            yield
            return
        self._held, before = True, self._held
        try:
            yield
        finally:
            self._held = before
        if not before:
            self._raise_pending()

    def _raise_pending(self) -> None:
        if self._pending:
            self._pending = False
            raise JobCancelled


class Reporter:
    """Sends progress and log lines to the server, and passes on what the server says.

    A thread of its own listens, and sends what a quiet handler has reported. A handler that reports often sends its
    reports itself: if it reads files in small pieces, another thread would hardly ever get hold of the interpreter.
    """

    def __init__(self, channel: BlockingChannel) -> None:
        self._channel = channel
        self.interruption = Interruption()
        self.reported = Reported()
        self.logs = LogBuffer()
        self.logs.ring = self.nudge
        self._due_s = -math.inf
        self._held_back = False
        """Whether something was reported that is not due yet."""
        self._flushing = threading.Lock()
        self._answers: list[CheckpointAnswer] = []
        self._answered = threading.Condition()
        self._listener: threading.Thread | None = None
        self._forked = False
        """Whether the handler has forked this process. Then there is no thread that listens."""
        self._over = False

    def listen(self, context: BlockingContext) -> None:
        """Start the thread that listens to the server for `context`'s handler."""
        _listening.add(self)
        self._listener = threading.Thread(target=self._listen, args=(context,), name="headway-reporter", daemon=True)
        self._listener.start()

    def close(self) -> None:
        """Listen no more: what the server says next is for somebody else."""
        _listening.discard(self)
        self._over = True
        self._channel.wake()
        if self._listener is not None:
            self._listener.join()

    def nudge(self) -> None:
        """Called by the handler's thread at every report: sends it now, or leaves it to the other thread."""
        if time.monotonic() >= self._due_s - FLUSH_EVERY_S:
            with suppress(OSError), self.interruption.held():
                self.flush()
        elif not self._held_back:
            self._hold_back()

    def flush(self, *, wait: bool = False, final: bool = False) -> None:
        """Send what has been reported. With `wait`, after another thread that is sending. Raises `OSError`.

        `final`: nothing is reported any more. It waits too.
        """
        if not self._flushing.acquire(blocking=wait or final):
            self._hold_back()  # the other thread may have taken what there was before this was reported
            return
        try:
            self._due_s = max(self._due_s, time.monotonic()) + FLUSH_EVERY_S
            self._held_back = False
            dropped = self.logs.limit.take_dropped()  # first: it is the server that says how many there were
            progress, lines = _sendable(self.reported.take()), self.logs.take(final=final)
            report = Report(progress, tuple(lines[:LINES_PER_REPORT]), dropped)
            if report != _NOTHING:
                self._channel.send(report)
            for first in range(LINES_PER_REPORT, len(lines), LINES_PER_REPORT):
                self._channel.send(Report(None, tuple(lines[first : first + LINES_PER_REPORT])))
        finally:
            self._flushing.release()

    def go_on_in_fork(self) -> None:
        """The handler has forked this process. It reports too, but not what the handler has reported before.

        Threads that are not here may have held the locks when it was forked.
        """
        self._forked = True
        self._held_back = False
        if signal.getsignal(signal.SIGTERM) == self.interruption.on_signal:  # it is the handler that interrupts it
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._flushing = threading.Lock()
        self._channel.go_on_in_fork()
        self._due_s = -math.inf
        self.reported.take()
        self.logs.take()
        self.logs.limit.take_dropped()

    def _hold_back(self) -> None:
        """Let the listening thread send what is new once it is due; in a forked process, another one."""
        starts, self._held_back = self._forked and not self._held_back, True
        if starts:
            with suppress(RuntimeError):  # there is no room for it, or the process is about to end
                threading.Thread(target=self._send_late, name="headway-reporter").start()
        elif not self._forked:
            self._channel.wake()

    def _send_late(self) -> None:
        """Not as a daemon: `multiprocessing` waits for it when its process ends."""
        time.sleep(self._left_s())
        with suppress(OSError):
            self.flush(wait=True)

    def begin(self) -> None:
        """Tell the server that the handler runs from now on."""
        with self.interruption.held():
            self._channel.send(Began())

    def checkpoint(self, checkpoint_json: str) -> None:
        """Hand a checkpoint over and wait until it is durable.

        Raises `ClaimLostError` or `StoreUnavailableError` if it is not, `RuntimeError` in a process that the handler
        has forked: the answer would go to the handler.
        """
        if self._forked:
            raise RuntimeError("a process that the handler has forked cannot store a checkpoint")
        with self.interruption.held():
            self._channel.send(Checkpoint(checkpoint_json))
        with self._answered:
            self._answered.wait_for(lambda: self._answers)
            answer = self._answers.pop()
        match answer.outcome:
            case CheckpointOutcome.STORED:
                return
            case CheckpointOutcome.LOST:
                raise ClaimLostError("this attempt is not the job's current one")
            case CheckpointOutcome.FAILED:
                raise StoreUnavailableError("the checkpoint could not be stored")

    def _listen(self, context: BlockingContext) -> None:
        """Until the server is gone: then the whole process group ends, whatever the handler does."""
        try:
            while not self._over:
                if self._channel.readable(self._left_s()):
                    message = self._channel.receive()
                    if message is None:
                        break
                    self._obey(message, context)
                if self._held_back and self._left_s() <= 0:
                    with suppress(OSError):  # the server is gone: the next receive notices
                        self.flush()
        except (OSError, ValueError, GarbledMessageError):  # the handler has closed the socket, or has read from it
            if not self._over:
                os._exit(SOCKET_LOST)
        if not self._over:
            os.killpg(os.getpgrp(), signal.SIGKILL)

    def _left_s(self) -> float:
        """The seconds until what is held back must be sent."""
        if not self._held_back:
            return CHECK_EVERY_S
        return max(0.0, self._due_s - FLUSH_EVERY_S + QUIET_AFTER_S - time.monotonic())

    def _obey(self, message: Message, context: BlockingContext) -> None:
        match message:
            case CheckpointAnswer():
                with self._answered:
                    self._answers.append(message)
                    self._answered.notify()
            case Cancel():
                context.ask_to_stop()


_listening: set[Reporter] = set()
"""The reporter of the attempt that runs in this process."""


def _go_on_in_fork() -> None:
    for reporter in _listening:
        reporter.go_on_in_fork()


os.register_at_fork(after_in_child=_go_on_in_fork)


def _sendable(values: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
    """Reported values as the server may see them: finite numbers, numpy's as Python's, and texts within limits."""
    if values is None:
        return None
    done, total, percent, unit, message, step = values
    numbers = (finite(_plain(number)) for number in (done, total, percent))
    return (*numbers, text_of(unit, WORD_CHARS), text_of(message, MESSAGE_CHARS), text_of(step, WORD_CHARS))


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    with suppress(TypeError, ValueError, AttributeError):
        return value.item()
    return None
