"""Reading tracebacks: whose code a frame runs, where it broke, an exception in one line."""

import asyncio
import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import headway.samples.ping
import pydantic
import pytest
import structlog
from headway import tracebacks
from headway.tracebacks import Origin, describe, origin, place, place_of, raised_at

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
    assert len(describe(ValueError("x" * 10_000))) == tracebacks.MAX_REASON_CHARS
