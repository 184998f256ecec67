"""Reading tracebacks: whose code a frame runs, where it broke, an exception in one line."""

import asyncio
import functools
import json
import traceback
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import headway.samples.ping
import pydantic
import pytest
import structlog
from headway import tracebacks
from headway.limits import REASON_CHARS, TRACEBACK_CHARS, TRACEBACK_LINES
from headway.tracebacks import (
    MAX_EXCEPTIONS,
    Origin,
    describe,
    formatted,
    origin,
    place,
    place_of,
    raised_at,
    shortened,
)

AUTHOR = (Origin.AUTHOR, "")


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        (__file__, AUTHOR),
        ("/home/me/pydantic/mine.py", AUTHOR),
        ("<stdin>", AUTHOR),
        (headway.samples.ping.__file__, AUTHOR),
        (tracebacks.__file__, (Origin.FRAMEWORK, "headway")),
        (asyncio.__file__, (Origin.FRAMEWORK, "asyncio")),
        (pydantic.__file__, (Origin.FRAMEWORK, "pydantic")),
        ("<frozen importlib._bootstrap>", (Origin.FRAMEWORK, "importlib")),
        (json.__file__, (Origin.LIBRARY, "json")),
        (functools.__file__, (Origin.LIBRARY, "functools")),
        (structlog.__file__, (Origin.LIBRARY, "structlog")),
        ("/usr/lib/python3/dist-packages/numpy/core/x.py", (Origin.LIBRARY, "numpy")),
    ],
)
def test_a_frame_is_the_authors_a_librarys_or_the_frameworks(filename: str, expected: tuple[Origin, str]) -> None:
    assert origin(filename) == expected


def test_a_place_is_relative_to_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert place(str(tmp_path / "jobs" / "mine.py"), 3) == "jobs/mine.py:3"
    assert place("/elsewhere/mine.py", 3) == "/elsewhere/mine.py:3"
    assert place("mine.py", None) == "mine.py"


def test_a_function_is_placed_at_its_first_decorator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parent)
    (line,) = [n for n, text in enumerate(Path(__file__).read_text().splitlines(), 1) if text == "@unchanged"]
    assert place_of(decorated) == f"{Path(__file__).name}:{line}"
    assert place_of(len) is None


def unchanged(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper() -> Any:
        return function()

    return wrapper


@unchanged
def decorated() -> None: ...


def raised(function: Callable[[], Any]) -> BaseException:
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - any
        function()
    return caught.value


def test_an_exception_was_raised_at_the_deepest_of_the_authors_frames() -> None:
    error = raised(lambda: json.loads("this is no JSON"))
    found = raised_at(error)
    assert found is not None
    assert found[0] == __file__
    assert raised_at(ValueError("never raised")) is None


def test_a_syntax_error_is_where_the_syntax_is_wrong() -> None:
    assert raised_at(raised(lambda: compile("x = 1\ndef", "/home/me/mine.py", "exec"))) == ("/home/me/mine.py", 2)
    evaluated = raised_at(raised(lambda: compile("def", "<string>", "exec")))
    assert evaluated is not None
    assert evaluated[0] == __file__, "a string has no place of its own"


def test_an_exception_is_described_in_one_line_of_limited_length() -> None:
    assert describe(ValueError("one\n  two")) == "ValueError: one two"
    assert describe(ValueError()) == "ValueError"
    long = describe(ValueError("x" * 10_000))
    assert len(long) == REASON_CHARS
    assert long.endswith("x… (cut from 10,000 characters)")


_nothing: dict[str, int] = {}


def chained() -> None:
    try:
        _nothing["first"]
    except KeyError as error:
        error.add_note("a note")
        raise ExceptionGroup("both", [ValueError("one"), OSError("two")]) from error


def test_a_traceback_is_what_python_writes() -> None:
    error = raised(chained)
    assert formatted(error) == "".join(traceback.format_exception(error))


def chain_of(count: int) -> Exception:
    error = before = Exception("the last")
    for number in range(count - 1):
        before.__cause__ = before = KeyError(number)
    return error


def group_in_itself_twice(depth: int) -> Exception:
    """Two to the power of `depth` exceptions to show, though there are only `depth`."""
    error: Exception = ValueError("the innermost")
    for _ in range(depth):
        error = ExceptionGroup("twice", [error, error])
    return error


@pytest.mark.parametrize(
    "error", [chain_of(20_000), ExceptionGroup("many", [KeyError()] * 20_000), group_in_itself_twice(30)]
)
def test_of_very_many_exceptions_some_are_read(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[BaseException] = []
    alone = tracebacks._read_alone

    def counted(error: BaseException) -> traceback.TracebackException:
        read.append(error)
        return alone(error)

    monkeypatch.setattr(tracebacks, "_read_alone", counted)
    text = formatted(error)
    assert len(read) == MAX_EXCEPTIONS
    assert text.startswith("[more than 100 exceptions: some are left out]")
    assert describe(error) in text


def test_a_chain_as_long_as_allowed_is_whole() -> None:
    error = chain_of(MAX_EXCEPTIONS)
    assert formatted(error) == "".join(traceback.format_exception(error))


def odd_error(name: str) -> Exception:
    """An exception whose class says something else, or raises, when one asks for its name, notes, class or cause."""

    class Meta(type):
        @property
        def __name__(cls) -> str:  # type: ignore[override]
            raise SystemExit("name")

    class NamelessError(Exception, metaclass=Meta): ...

    class NotesError(Exception):
        @property
        def __notes__(self) -> Any:  # type: ignore[override]
            raise SystemExit("notes")

    class ClassError(Exception):
        @property  # type: ignore[misc]
        def __class__(self) -> Any:
            raise SystemExit("class")

    class EndlessError(Exception):
        @property
        def __cause__(self) -> Any:  # type: ignore[override]
            return EndlessError()

    return {"name": NamelessError, "notes": NotesError, "class": ClassError, "cause": EndlessError}[name]()


@pytest.mark.parametrize("what", ["name", "notes", "class", "cause"])
def test_whatever_an_exception_does_it_can_be_shown(what: str) -> None:
    error = raised(functools.partial(raises, odd_error(what)))
    assert describe(error).endswith("Error")
    assert describe(error) in formatted(error)


@pytest.mark.parametrize("notes", ["not a list", 7, ["a note", object(), odd_error("notes")], {"a": "note"}])
def test_notes_may_be_anything(notes: Any) -> None:
    error = ValueError("noted")
    error.__notes__ = notes
    assert formatted(error).startswith("ValueError: noted")


def raises(error: Exception) -> None:
    raise error


@pytest.mark.parametrize("wrap", [lambda error: error, lambda error: ExceptionGroup("several", [error])])
def test_the_traceback_of_an_endless_message_takes_little_memory_and_keeps_its_end(
    wrap: Callable[[Exception], Exception],
) -> None:
    message = "\n" * 5_000_000  # a line each, if the message is not shortened before it is indented
    noted = KeyError(message + "the end")
    noted.__cause__ = ValueError(message)
    noted.add_note(message)
    tracemalloc.start()
    text = formatted(wrap(noted))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 10 * len(message)
    assert len(text) <= TRACEBACK_CHARS
    assert " are left out]" in text


def test_a_traceback_of_very_many_lines_keeps_the_first_and_the_last() -> None:
    text = shortened("\n".join(f"{number}" for number in range(5_000)))
    assert text.startswith("0\n1\n")
    assert "\n298\n[4,402 lines are left out]\n4701\n" in text
    assert text.endswith("\n4999")
    assert len(text.split("\n")) < TRACEBACK_LINES
    assert shortened(text) == text
