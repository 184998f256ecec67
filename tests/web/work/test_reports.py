"""Log lines that a worker sends: whatever is in them, the event loop goes round meanwhile."""

import asyncio
import tracemalloc
from typing import TYPE_CHECKING, Any, cast

import pytest
from headway.errors import InvalidError, LeaseLostError
from headway.limits import LOG_LINE_CHARS
from headway.web.endpoints.work.reports import MAX_LINES, PIECE_CHARS, text_lines, write_lines

if TYPE_CHECKING:
    from headway.ports.work import Lease


class LeaseInTest:
    """Takes log lines, and ends after some."""

    def __init__(self, most_lines: int = MAX_LINES) -> None:
        self.lines: list[tuple[str, str]] = []
        self._most_lines = most_lines

    def log(self, message: str, level: str) -> None:
        if len(self.lines) == self._most_lines:
            raise LeaseLostError
        self.lines.append((message, level))


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", []),
        ("one", ["one"]),
        ("one\n  two\r\n\n \t\nthree\rfour\n", ["one", "  two", "three", "four"]),
        ("a\u2028b\vc\x85d\n", ["a\u2028b\vc\x85d"]),
        ("a\n" * MAX_LINES, ["a"] * MAX_LINES),
        ("a\r\n" * MAX_LINES, ["a"] * MAX_LINES),
        ("a\r" * MAX_LINES + "\n", ["a"] * MAX_LINES),
    ],
)
def test_each_line_of_a_text_that_is_not_blank_is_one(text: str, lines: list[str]) -> None:
    assert text_lines(text) == lines


@pytest.mark.parametrize(
    "text", ["a\n" * (MAX_LINES + 1), "a\n" * MAX_LINES + "a", "a\r" * (MAX_LINES + 1), "a\rb\n" * (MAX_LINES // 2 + 1)]
)
def test_a_text_of_too_many_lines_is_refused(text: str) -> None:
    with pytest.raises(InvalidError):
        text_lines(text)


@pytest.mark.parametrize("line", ["a\n", "\n", "\r", " \r\n"])
def test_a_text_of_very_many_lines_is_refused_before_it_is_split(line: str) -> None:
    text = line * (1024 * 1024 // len(line))
    tracemalloc.start()
    try:
        with pytest.raises(InvalidError):
            text_lines(text)
        assert tracemalloc.get_traced_memory()[1] < len(text) / 2
    finally:
        tracemalloc.stop()


async def rounds_meanwhile(work: Any) -> int:
    """How often the event loop goes round while this coroutine runs."""
    task, rounds = asyncio.create_task(work), 0
    while not task.done():
        await asyncio.sleep(0)
        rounds += 1
    await task
    return rounds


async def test_the_event_loop_goes_round_between_pieces_of_many_characters() -> None:
    lease = LeaseInTest()
    lines = [("\x1b " * 500, "info")] * MAX_LINES
    assert await rounds_meanwhile(write_lines(cast("Lease", lease), lines)) > MAX_LINES * 1000 / PIECE_CHARS / 2
    assert lease.lines == lines


async def test_what_is_cut_off_of_a_long_line_takes_no_time() -> None:
    lease = LeaseInTest()
    await rounds_meanwhile(write_lines(cast("Lease", lease), [("a" * 10 * PIECE_CHARS, "info")] * 3))
    assert len(lease.lines) == 3
    few = await rounds_meanwhile(write_lines(cast("Lease", LeaseInTest()), [("a" * LOG_LINE_CHARS, "info")] * 3))
    many = await rounds_meanwhile(write_lines(cast("Lease", LeaseInTest()), [("a" * 10 * PIECE_CHARS, "info")] * 3))
    assert many == few


async def test_lines_of_a_lease_that_ends_between_two_pieces_are_refused() -> None:
    lease = LeaseInTest(most_lines=3)
    with pytest.raises(LeaseLostError):
        await write_lines(cast("Lease", lease), [("a" * PIECE_CHARS, "info")] * 5)
    assert len(lease.lines) == 3
