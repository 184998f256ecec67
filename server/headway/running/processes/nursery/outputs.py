"""What the processes of `def` handlers write to the descriptors 1 and 2, on its way to the server's log.

`os.write`, a library in C and programs that a handler starts know nothing of the log that `print` goes to. Without a
limit they would fill the disk, and with control characters they would command the terminal. A pipe per child leads to
the nursery, which reads it slowly where it is written too fast: then it is the writer that waits.
"""

import fcntl
import logging
import os
import time
from collections.abc import Collection
from contextlib import suppress

from ....authoring.capturing import LINES_AT_ONCE, SERVERS_HANDLER, has_servers_log, plain_line
from ....authoring.reporting import LineLimit
from ....limits import LOG_LINE_CHARS
from ....text import LogStream

READ_BYTES = 64 * 1024
PAUSE_S = 0.01
"""How long what is over its limit is not read: six megabytes a second are enough to throw away."""
_STANDARD_OUTPUT, _STANDARD_ERROR = 1, 2

_log = logging.getLogger(__name__)


class Outputs:
    """The pipes of the children of one nursery."""

    def __init__(self) -> None:
        self._pipes: dict[int, _Pipe] = {}

    def descriptors(self) -> list[int]:
        """Those that are to be read when they can be."""
        now_s = time.monotonic()
        return [pipe.descriptor for pipe in self._pipes.values() if pipe.open and pipe.resume_s <= now_s]

    def timeout_s(self) -> float | None:
        """How long to wait at most: until one is to be read again."""
        now_s = time.monotonic()
        return min((pipe.resume_s - now_s for pipe in self._pipes.values() if pipe.resume_s > now_s), default=None)

    def read(self, ready: Collection[int]) -> None:
        """Read those that can be read."""
        for pipe in self._pipes.values():
            if pipe.open and pipe.descriptor in ready:
                pipe.read()

    def add(self, child: int, descriptor: int) -> None:
        """Read what `child` writes, at this end of its pipe."""
        self._pipes[child] = _Pipe(descriptor)

    def end(self, child: int) -> None:
        """Read what `child` has written last. Nothing of it is left."""
        pipe = self._pipes.pop(child, None)
        if pipe is not None:
            pipe.drain()

    def close(self) -> None:
        """Close the descriptors, in a process that was forked and has no part in this."""
        for pipe in self._pipes.values():
            pipe.close()


class _Pipe:
    """One child's pipe, and its limit. A process that stays has it for all of its jobs."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self.descriptor = descriptor
        self.open = True
        self.resume_s = 0.0
        """When it is to be read again, by the monotonic clock."""
        self._limit = LineLimit(in_all=float("inf"))
        self._begun = b""
        self._cut = 0
        """How many bytes have been cut from what has begun."""

    def read(self) -> bool:
        """Read a piece. Whether there was one."""
        try:
            read = os.read(self.descriptor, READ_BYTES)
        except BlockingIOError:
            return False
        if not read:  # everybody who could write has closed it
            self.close()
            return False
        *lines, begun = (self._begun + read).split(b"\n", LINES_AT_ONCE)
        if len(lines) == LINES_AT_ONCE:
            self._limit.dropped += begun.count(b"\n")
            begun = begun.rpartition(b"\n")[2]
        for line in lines:
            self._write(line, self._cut)
            self._cut = 0
        self._begun, self._cut = begun[: 4 * LOG_LINE_CHARS], self._cut + len(begun[4 * LOG_LINE_CHARS :])
        if not self._limit.has_room() or self._cut:
            self.resume_s = time.monotonic() + PAUSE_S
        return True

    def close(self) -> None:
        if self.open:
            self.open = False
            os.close(self.descriptor)

    def drain(self) -> None:
        """Read what is left, which is what a pipe holds at most, and close it."""
        if self.open:
            held_bytes = fcntl.fcntl(self.descriptor, fcntl.F_GETPIPE_SZ)
            for _ in range(0, held_bytes + READ_BYTES, READ_BYTES):
                if not self.read():
                    break
            self.close()
        if self._begun:
            self._write(self._begun, self._cut)
        self._say_dropped()

    def _write(self, line: bytes, cut: int) -> None:
        text = plain_line(line.decode("utf-8", "replace"), cut)
        if text and self._limit.take():
            self._say_dropped()
            _emit(text)

    def _say_dropped(self) -> None:
        if dropped := self._limit.take_dropped():
            _emit(f"{dropped:,} lines were dropped: a job's process wrote too many")


def _emit(text: str) -> None:
    if has_servers_log():
        _log.info("%s", text)
        return
    with suppress(OSError):  # the server's standard error is closed
        os.write(_STANDARD_ERROR, f"{text}\n".encode())


def write_into(descriptor: int) -> None:
    """Let the descriptors 1 and 2 of this process lead into a pipe, whose other end `Outputs` reads.

    What goes through `logging` has its own limits, and goes to the server's log as before.
    """
    for handler in logging.root.handlers:
        if handler.name == SERVERS_HANDLER and isinstance(handler, logging.StreamHandler):
            servers = os.dup(_STANDARD_ERROR)
            stream = open(servers, "w", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115, PTH123
            handler.setStream(LogStream(stream))
    os.dup2(descriptor, _STANDARD_OUTPUT)
    os.dup2(descriptor, _STANDARD_ERROR)
    os.close(descriptor)
