"""What a handler prints and logs becomes lines of its job's log, and stays in the server's.

In the event loop a context variable says whose output it is: a handler's tasks inherit it, and `asyncio.to_thread`
passes it on. In a child process everything is its handler's. Child processes import this module, so it loads neither
asyncio nor structlog; it stands beside `reporting`, which the lines go to, because both kinds of handler need it.
"""

import logging
import math
import os
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar, Token
from enum import Enum, auto
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

from typing_extensions import override

from ..limits import LOG_BURST_LINES, LOG_LINE_CHARS
from ..text import clean_text
from ..tracebacks import Origin, describe, origin, shortened
from .reporting import LineLimit, LogBuffer

SERVERS_HANDLER = "headway"
"""The name of the handler that writes the server's log (`logs.configure_logging`)."""

_log = logging.getLogger(__name__)
"""For what was printed: in the server's log it has the id of its job and the format of the other lines."""
LINES_AT_ONCE = 2 * LOG_BURST_LINES
"""How many lines of one `print` are looked at."""
_LEVELS = {"error": logging.ERROR, "warning": logging.WARNING, "info": logging.INFO}


class _Output:
    """Where one handler's output goes, until the handler has ended. As a context manager, that of the present task.

    It is a class of its own rather than a generator with `contextmanager`, which takes three times as long.
    """

    def __init__(self, logs: LogBuffer) -> None:
        self._logs = logs
        self.servers = LineLimit()
        """For the server's log, where there are also lines that the job's does not get."""
        self.open = True
        self._begun: dict[tuple[str, int], tuple[str, int]] = {}
        """Lines without their end, by level and thread: `print` writes each of its arguments on its own.

        Each with the number of characters that were cut from it.
        """
        self._token: Token[_Output | None]

    def __enter__(self) -> None:
        self._token = _output.set(self)

    def __exit__(self, *_raised: object) -> None:
        _output.reset(self._token)
        self.close()

    def add(self, level: str, line: str) -> None:
        """Add a line to the job's log, if the limit allows it."""
        if self.open:
            self._logs.add(level, line)

    def lines(self, level: str, text: str) -> list[str]:
        """The lines that `text` completes; of very many, the first, the others count as dropped."""
        key = (level, threading.get_ident())
        begun, cut = self._begun.pop(key, ("", 0))
        *lines, begun = f"{begun}{text}".split("\n", LINES_AT_ONCE)
        if len(lines) == LINES_AT_ONCE:
            self._logs.limit.dropped += begun.count("\n")
            begun = begun.rpartition("\n")[2]
        cuts = [cut, *[0] * len(lines)]  # of the lines and of what has begun
        if begun:
            begun = _overwritten(begun)
            self._begun[key] = begun[:LOG_LINE_CHARS], cuts[-1] + len(begun[LOG_LINE_CHARS:])
        return [found for line, cut in zip(lines, cuts, strict=False) if (found := plain_line(line, cut))]

    def write(self, original: TextIO, text: str) -> None:
        """Write to the stream as it was, where there is no server's log, unless the handler writes too much."""
        if self.servers.has_room() if self.open else _of_nobody.takes():
            original.write(shortened(text))

    def to_servers_log(self, level: str, line: str) -> None:
        """Write what was printed to the server's log, if there is one and the limit allows it."""
        if has_servers_log() and self.takes():
            _log.log(_LEVELS[level], "%s", line)

    def takes(self) -> bool:
        """Whether a line may be in the server's log. It counts, either way."""
        return self.servers.take() if self.open else _of_nobody.takes()

    def close(self) -> None:
        """Complete the lines that have begun. What tasks print that the handler left behind belongs to no job."""
        for (level, _), (line, cut) in self._begun.items():
            if found := plain_line(line, cut):
                self.add(level, found)
                self.to_servers_log(level, found)
        self.open = False
        if self.servers.dropped and has_servers_log():
            _log.warning("%s lines were dropped: the handler wrote too many", f"{self.servers.dropped:,}")


class _Nobodys(_Output):
    """What belongs to no running handler: to a task or a thread that one has left behind, or that a module started."""

    def __init__(self) -> None:
        super().__init__(LogBuffer())
        self.open = False
        self.servers = LineLimit(in_all=math.inf)

    @override
    def takes(self) -> bool:
        if not self.servers.take():
            return False
        if dropped := self.servers.take_dropped():
            _log.warning("%s lines were dropped: code of no running handler wrote too many", f"{dropped:,}")
        return True


_output: ContextVar[_Output | None] = ContextVar("headway_output", default=None)
_of_this_process: _Output | None = None
_of_nobody = _Nobodys()


def _current() -> _Output | None:
    """Whose output it is; `None` for what the server, or a program that embeds it, writes itself."""
    output = _output.get() or _of_this_process
    if output is None and threading.current_thread() is not threading.main_thread() and has_servers_log():
        return _of_nobody
    return output


# For whom


def capture(logs: LogBuffer) -> AbstractContextManager[None]:
    """What this task, and whatever it starts, prints and logs in the block goes to `logs` too. See `capturing`."""
    return _Output(logs)


@contextmanager
def capture_process(logs: LogBuffer, fields: Mapping[str, Any]) -> Iterator[None]:
    """What this process prints and logs in the block, in any thread, goes to `logs` too. For child processes.

    `fields` are added to its lines in the server's log, if this process has been forked from the server and so has its
    format; otherwise the server's log gets plain text.
    """
    make = logging.getLogRecordFactory()

    def make_with_fields(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        vars(record).update(fields)
        return record

    if not logging.root.handlers:
        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    with ExitStack() as stack:
        stack.enter_context(capturing())
        logging.setLogRecordFactory(make_with_fields)
        stack.callback(logging.setLogRecordFactory, make)
        stack.enter_context(capture_all(logs))
        yield


@contextmanager
def capture_all(logs: LogBuffer) -> Iterator[None]:
    """What this process prints and logs in the block, in any thread, goes to `logs` too. See `capturing`."""
    global _of_this_process  # noqa: PLW0603 - a process has one
    before, _of_this_process = _of_this_process, (output := _Output(logs))
    try:
        yield
    finally:
        output.close()
        _of_this_process = before


# The process's streams and loggers

_users = 0
_installed = ExitStack()


@contextmanager
def capturing() -> Iterator[None]:
    """Within the block, `sys.stdout`, `sys.stderr` and the root logger pass on what is captured."""
    global _users  # noqa: PLW0603 - there is one of each in a process, and several servers may use them
    if not _users:
        _install()
    _users += 1
    try:
        yield
    finally:
        _users -= 1
        if not _users:
            _installed.close()


def _install() -> None:
    handler = _JobsHandler()
    logging.root.addHandler(handler)
    _installed.callback(logging.root.removeHandler, handler)
    for servers in logging.root.handlers:
        if servers.name == SERVERS_HANDLER:
            servers.addFilter(_is_within_limit)
            _installed.callback(servers.removeFilter, _is_within_limit)
    _installed.enter_context(_passing_on())


@contextmanager
def present_streams() -> Iterator[None]:
    """Within the block, and while anything is captured at all, streams that somebody has put in place pass it on too.

    pytest does so before each phase of a test.
    """
    if not _users:
        yield
        return
    with _passing_on():
        yield


@contextmanager
def _passing_on() -> Iterator[None]:
    """Within the block, `sys.stdout` and `sys.stderr` pass on what is captured."""
    with ExitStack() as stack:
        for name, level in (("stdout", "info"), ("stderr", "warning")):
            original = getattr(sys, name)
            if original is not None and not isinstance(original, _Stream):
                stream = _Stream(original, level)
                setattr(sys, name, stream)
                stack.callback(_restore, name, stream, original)
        yield


def _restore(name: str, stream: "_Stream", original: TextIO) -> None:
    if getattr(sys, name) is stream:  # unless somebody has put another one in its place
        setattr(sys, name, original)


def _is_within_limit(record: logging.LogRecord) -> bool:
    """Whether a record may be in the server's log, as far as the handler that logged it is concerned."""
    if record.name == __name__:
        return True
    # asyncio says what a task has raised when it is collected, in whatever context that happens.
    output = _of_nobody if record.name == "asyncio" else _current()
    return output is None or output.takes()


class _JobsHandler(logging.Handler):
    """Adds records to the log of the job whose handler logged them.

    Clients read that log. So left out are the framework's records, which may be about other jobs; libraries' below a
    warning, since an HTTP client's hold URLs with keys in them; and tracebacks.
    """

    def emit(self, record: logging.LogRecord) -> None:
        if logging.root.handlers == [self]:
            self._stand_aside(record)
        output = _current()
        if output is not None and output.open and _is_for_clients(record):
            output.add(_level_of(record), _message(record))

    def _stand_aside(self, record: logging.LogRecord) -> None:
        """Where nobody has configured logging, this handler is no reason to write nothing on stderr."""
        logger: logging.Logger | None = logging.getLogger(record.name)
        while logger is not None and logger is not logging.root:
            if logger.handlers:
                return
            logger = logger.parent
        if logging.lastResort is not None and record.levelno >= logging.lastResort.level:
            logging.lastResort.handle(record)


def _is_for_clients(record: logging.LogRecord) -> bool:
    if record.name == "py.warnings":
        return False
    match origin(record.pathname):
        case Origin.AUTHOR, _:
            return True
        case Origin.FRAMEWORK, package:  # which may only have called what it was given, as in `to_thread(logger.info)`
            return record.name.partition(".")[0] != package
        case _:
            return record.levelno >= logging.WARNING


def _level_of(record: logging.LogRecord) -> str:
    return next((name for name, least in _LEVELS.items() if record.levelno >= least), "debug")


def _message(record: logging.LogRecord) -> str:
    try:
        text = record.getMessage()
    except Exception:  # noqa: BLE001 - arguments that do not fit: the server's handler reports it
        text = str(record.msg)
    raised = record.exc_info[1] if record.exc_info else None
    return text if raised is None else f"{text}: {describe(raised)}"


class _Stream:
    """`sys.stdout` or `sys.stderr`. What is not captured goes to the stream that it stands for."""

    def __init__(self, original: TextIO, level: str) -> None:
        self._original = original
        self._level = level

    def write(self, text: str) -> int:
        output = _current()
        reader = _Reader.ALL if output is None else _reader_of(sys._getframe(1))  # noqa: SLF001 - no other way
        if output is None or reader is _Reader.TERMINAL:
            return self._original.write(text)
        if not has_servers_log():
            output.write(self._original, text)
        for line in output.lines(self._level, text):
            if reader is _Reader.ALL:
                output.add(self._level, line)
            output.to_servers_log(self._level, line)
        return len(text)

    def writelines(self, lines: Iterator[str]) -> None:
        for line in lines:
            self.write(line)

    def isatty(self) -> bool:
        """Not for handlers: their lines have no colors, and no progress bars that overwrite themselves."""
        return _current() is None and self._original.isatty()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)


def has_servers_log() -> bool:
    """Otherwise logging is the embedding program's, and what is printed goes where it always did."""
    return any(handler.name == SERVERS_HANDLER for handler in logging.root.handlers)


class _Reader(Enum):
    """Who reads what is written."""

    ALL = auto()
    OPERATOR = auto()
    """Warnings and tracebacks, which show the server's files."""
    TERMINAL = auto()
    """What logging writes, whose record has been captured already; and a debugger's prompt."""


_LIBRARY = Path(os.__file__).parent
_READERS = {
    logging.__file__: _Reader.TERMINAL,
    **{str(_LIBRARY / f"{name}.py"): _Reader.TERMINAL for name in ("bdb", "cmd", "pdb")},
    traceback.__file__: _Reader.OPERATOR,
    warnings.__file__: _Reader.OPERATOR,
}


def _reader_of(frame: FrameType | None) -> _Reader:
    """By what is on the stack of a write."""
    while frame is not None:
        reader = _READERS.get(frame.f_code.co_filename)
        if reader is not None:
            return reader
        frame = frame.f_back
    return _Reader.ALL


def plain_line(line: str, cut: int) -> str:
    """A line as it can be shown, of which `cut` characters have been cut already."""
    text = _overwritten(line.rstrip("\r"))
    return clean_text(text, LOG_LINE_CHARS, lines=True, already_cut=cut).rstrip()


def _overwritten(line: str) -> str:
    """What a terminal would still show of a line: progress bars write over themselves."""
    return line[:-1].rpartition("\r")[2] + line[-1:]
