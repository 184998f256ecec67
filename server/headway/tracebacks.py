"""Reading tracebacks: whose code a frame runs, where in the author's own it broke, and the text of one, part by part.

A child process sends its handler's traceback as text, so text is what is read.

Child processes import this module, so it loads neither asyncio nor logging.
"""

import inspect
import os
import re
import sys
import sysconfig
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from pathlib import Path
from traceback import TracebackException, walk_tb
from typing import Any, cast

from .limits import REASON_CHARS, TRACEBACK_CHARS, TRACEBACK_LINES
from .text import clean_text, spoken

MAX_NOTES = 50
MAX_EXCEPTIONS = 100
MAX_FRAMES = 2_000
"""Of one exception: the last ones."""
_MAX_NAME_CHARS = 100
_NOTE_CHARS = 60

_PACKAGE = f"{Path(__file__).parent}{os.sep}"
_SAMPLES = f"{_PACKAGE}samples{os.sep}"
_STANDARD = tuple({f"{sysconfig.get_path(name)}{os.sep}" for name in ("stdlib", "platstdlib")})
_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
_FRAMEWORK = frozenset({"asyncio", "concurrent", "importlib", "pydantic", "pydantic_core", "pydantic_settings"})
"""Packages through which a handler is loaded, called and has its input checked, besides Headway itself."""
_NAME_OF_CLASS = vars(type)["__name__"].__get__
"""Not the metaclass's, which may be an author's own."""
_claimed: list[str] = []
"""Where installed packages are that declare job types."""


class Origin(Enum):
    """Whose code it is."""

    AUTHOR = "author"
    LIBRARY = "library"
    FRAMEWORK = "framework"


@lru_cache(maxsize=4_096)
def origin(filename: str) -> tuple[Origin, str]:
    """Whose code a file holds, and the name of its package if it is not the author's.

    What is neither installed nor in the standard library is the author's, and so are packages that declare job types.
    """
    if filename.startswith(_PACKAGE):
        return (Origin.AUTHOR, "") if filename.startswith(_SAMPLES) else (Origin.FRAMEWORK, "headway")
    if any(filename.startswith(claimed) for claimed in _claimed):
        return Origin.AUTHOR, ""
    if filename.startswith("<frozen "):
        package = filename.removeprefix("<frozen ").rstrip(">")
    else:
        for root in (*_INSTALLED, *_STANDARD):
            _, found, package = filename.rpartition(root)
            if found:
                break
        else:
            return Origin.AUTHOR, ""
    package = Path(package).parts[0].partition(".")[0]
    return (Origin.FRAMEWORK if package in _FRAMEWORK else Origin.LIBRARY), package


def claim(module: str) -> None:
    """The package that a module belongs to is the author's, even if it is installed beside libraries."""
    package = sys.modules.get(module.partition(".")[0])
    for path in getattr(package, "__path__", None) or [getattr(package, "__file__", None)]:
        if path is not None and origin(os.path.join(path, ""))[0] is Origin.LIBRARY:  # noqa: PTH118 - ends with a slash
            _claimed.append(path)
            origin.cache_clear()


def place(filename: str, line: int | None) -> str:
    """`file:line`, as terminals and editors link it; the path is relative if it is below the working directory."""
    shown = filename
    with suppress(ValueError, OSError):  # elsewhere; or the working directory has been deleted
        shown = str(Path(filename).relative_to(Path.cwd()))
    return shown if line is None else f"{shown}:{line}"


def place_of(function: Callable[..., Any]) -> str | None:
    """Where a function is defined, its decorators included. `None` if it was not written in Python."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return None if code is None else place(code.co_filename, code.co_firstlineno)


def raised_at(error: BaseException) -> tuple[str, int | None] | None:
    """The file and line to look at: the deepest that is the author's, or where their syntax is wrong."""
    if isinstance(error, SyntaxError) and error.filename is not None and _is_own(error.filename):
        return error.filename, error.lineno
    own = [(frame.f_code.co_filename, line) for frame, line in walk_tb(error.__traceback__)]
    return next(((filename, line) for filename, line in reversed(own) if _is_own(filename)), None)


def describe(error: BaseException) -> str:
    """An exception in one line: its class and message, never a traceback. Never raises."""
    name = clean_text(_NAME_OF_CLASS(type(error)), _MAX_NAME_CHARS)
    text = " ".join(clean_text(spoken(error), REASON_CHARS - len(name) - 2).split())
    return f"{name}: {text}" if text else name


def formatted(error: BaseException) -> str:
    """The traceback as Python writes it, without its middle if it is too long. Never raises.

    Of very many exceptions only some are shown: a chain of 20,000 would hold the event loop for a dozen seconds.
    """
    try:
        whole, is_whole = _read(error)
        text = "".join(whole.format())
    except BaseException:  # noqa: BLE001 - of the author's own, and nothing may be raised where an end is made
        return f"{describe(error)}\n[its traceback cannot be read]"
    cut = "" if is_whole else f"[more than {MAX_EXCEPTIONS} exceptions: some are left out]\n\n"
    return shortened(cut + text)


def _read(error: BaseException) -> tuple[TracebackException, bool]:
    """An exception with those that it is linked to, or that are in it if it is a group, and whether these are all."""
    whole, count, found, is_whole = _read_alone(error), 1, {id(error)}, True
    left = deque([(whole, error)])
    while left:
        part, each = left.popleft()
        part.__cause__ = part.__context__ = part.exceptions = None
        if isinstance(each, BaseExceptionGroup):
            members = each.exceptions[: MAX_EXCEPTIONS - count]
            is_whole = is_whole and len(members) == len(each.exceptions)
            count += len(members)
            part.exceptions = [_read_alone(member) for member in members]
            left.extend(zip(part.exceptions, members, strict=True))
        for name, linked in (("__cause__", each.__cause__), ("__context__", each.__context__)):
            if linked is not None and id(linked) not in found:
                is_whole = is_whole and count < MAX_EXCEPTIONS
                if count < MAX_EXCEPTIONS:
                    count += 1
                    found.add(id(linked))
                    read = _read_alone(linked)
                    setattr(part, name, read)
                    left.append((read, linked))
    return whole, is_whole


def _read_alone(error: BaseException) -> TracebackException:
    """An exception without others. Its class fills these in only where it is not told what has been `_seen`.

    That is private, as is `_str`, but the same from Python 3.11 to 3.14. Messages are shortened first: indenting one of
    100 MB, line by line, would hold the event loop for seconds.
    """
    read: Any = TracebackException(type(error), error, error.__traceback__, limit=-MAX_FRAMES, _seen=set())
    message = vars(read).get("_str")
    if isinstance(message, str):
        vars(read)["_str"] = shortened(message)
    notes = read.__notes__
    if notes is not None:
        notes = notes[:MAX_NOTES] if type(notes) in (list, tuple) else [notes]
        read.__notes__ = [shortened(spoken(note)) for note in notes]
    return cast("TracebackException", read)


def shortened(text: str) -> str:
    """The text without its middle if it is too long: the end of a traceback says what was raised."""
    if len(text) > TRACEBACK_CHARS:
        half = (TRACEBACK_CHARS - _NOTE_CHARS) // 2
        text = f"{text[:half]}\n[{len(text) - 2 * half:,} characters are left out]\n{text[-half:]}"
    if text.count("\n") < TRACEBACK_LINES:
        return text
    lines, half = text.split("\n"), (TRACEBACK_LINES - 1) // 2
    return "\n".join([*lines[:half], f"[{len(lines) - 2 * half:,} lines are left out]", *lines[-half:]])


def _is_own(filename: str) -> bool:
    return not filename.startswith("<") and origin(filename)[0] is Origin.AUTHOR


# The text


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a traceback's text."""

    margin: str
    """What stands before it: the tree that groups of exceptions are drawn with."""
    filename: str
    line: int
    function: str
    """Empty if it is where the syntax is wrong."""
    below: tuple[str, ...]
    """The lines that show the source."""

    @property
    def origin(self) -> Origin:
        return origin(self.filename)[0]


@dataclass(frozen=True, slots=True)
class Folded:
    """Frames of the framework that stand in for themselves: `text` says how many, and in which packages."""

    margin: str
    frames: int
    packages: tuple[str, ...]

    @property
    def text(self) -> str:
        return f"[{self.frames} frame{'s' * (self.frames > 1)} in {', '.join(self.packages)}]"


_FRAME = re.compile(r'(?P<margin>[ |]*)  File "(?P<file>[^"]+)", line (?P<line>\d+)(?:, in (?P<function>.+))?')


def parts(text: str) -> Iterator[str | Frame]:
    """The frames of a traceback as Python writes it, and the lines that belong to none."""
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        found = _FRAME.fullmatch(lines[at])
        at += 1
        if found is None:
            yield lines[at - 1]
            continue
        margin, first = found["margin"], at
        while at < len(lines) and lines[at].startswith((f"{margin}    ", f"{margin}  [Previous line repeated")):
            at += 1
        yield Frame(margin, found["file"], int(found["line"]), found["function"] or "", tuple(lines[first:at]))


def folded(text: str) -> list[str | Frame | Folded]:
    """The parts of a traceback, with the framework's frames folded. All stay if none is the author's."""
    found = list(parts(text))
    if not any(isinstance(part, Frame) and part.origin is Origin.AUTHOR for part in found):
        return [*found]
    kept: list[str | Frame | Folded] = []
    for part in found:
        last = kept[-1] if kept else None
        if not isinstance(part, Frame) or part.origin is not Origin.FRAMEWORK:
            kept.append(part)
        elif isinstance(last, Folded):
            kept[-1] = Folded(last.margin, last.frames + 1, _with(last.packages, part))
        else:
            kept.append(Folded(part.margin, 1, _with((), part)))
    return kept


def _with(packages: tuple[str, ...], frame: Frame) -> tuple[str, ...]:
    package = origin(frame.filename)[1]
    return packages if package in packages else (*packages, package)
