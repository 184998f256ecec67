"""Reading tracebacks: whose code a frame runs, where in the author's own code it broke, an exception in one line.

Child processes import this module, so it loads neither asyncio nor logging.
"""

import inspect
import os
import sysconfig
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from functools import lru_cache
from pathlib import Path
from traceback import walk_tb
from typing import Any

MAX_REASON_CHARS = 500

_PACKAGE = f"{Path(__file__).parent}{os.sep}"
_SAMPLES = f"{_PACKAGE}samples{os.sep}"
_STANDARD = tuple({f"{sysconfig.get_path(name)}{os.sep}" for name in ("stdlib", "platstdlib")})
_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
_FRAMEWORK = frozenset({"asyncio", "concurrent", "importlib", "pydantic", "pydantic_core", "pydantic_settings"})
"""Packages through which a handler is loaded, called and has its input checked, besides Headway itself."""


class Origin(Enum):
    """Whose code it is."""

    AUTHOR = "author"
    LIBRARY = "library"
    FRAMEWORK = "framework"


@lru_cache(maxsize=4_096)
def origin(filename: str) -> tuple[Origin, str]:
    """Whose code a file holds, and the name of its package if it is not the author's.

    What is neither installed nor in the standard library is the author's, and so are the bundled samples.
    """
    if filename.startswith(_PACKAGE):
        return (Origin.AUTHOR, "") if filename.startswith(_SAMPLES) else (Origin.FRAMEWORK, "headway")
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
    """An exception in one line: its class and message, never a traceback."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # noqa: BLE001 - the author's `__str__` may be broken
        text = ""
    return f"{type(error).__name__}: {text}"[:MAX_REASON_CHARS] if text else type(error).__name__


def _is_own(filename: str) -> bool:
    return not filename.startswith("<") and origin(filename)[0] is Origin.AUTHOR
