"""Contexts: progress, log lines, tracking, checkpoints and result URLs. The test moves the clock."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from headway.authoring.contexts import BlockingContext, Context
from headway.authoring.reporting import LogBuffer, Reported, log_line
from headway.errors import JobCancelled
from headway.limits import (
    CHECKPOINT_BYTES,
    LOG_BURST_LINES,
    LOG_LINE_CHARS,
    LOG_LINES_PER_ATTEMPT,
    LOG_LINES_PER_SECOND,
    RESULT_URL_CHARS,
)
from headway.ports.files import Directories
from headway.running.subprocesses import Subprocesses


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def common(tmp_path: Path, checkpoint_json: str | None = None) -> dict[str, Any]:
    return {
        "job_id": "018f0000-0000-7000-8000-000000000000",
        "attempt": 2,
        "owner": "local",
        "directories": Directories(*(str(tmp_path / name) for name in ("work", "output-2", "data"))),
        "reported": Reported(),
        "logs": LogBuffer(),
        "checkpoint_json": checkpoint_json,
    }


@pytest.fixture
def blocking(tmp_path: Path) -> BlockingContext:
    return BlockingContext(sync_checkpoint=lambda _: None, **common(tmp_path))


@pytest.fixture
def waiting(tmp_path: Path) -> Context:
    async def store(_: str) -> None: ...

    return Context(async_checkpoint=store, start_process=Subprocesses().start, **common(tmp_path))


# Progress


class HostileFloat(float):
    def _exit(self, *_: object) -> Any:
        raise SystemExit(3)

    __float__ = __lt__ = __gt__ = __eq__ = __repr__ = __str__ = __format__ = _exit
    __hash__ = float.__hash__


class HostileInt(int):
    __int__ = __index__ = __lt__ = __gt__ = __eq__ = __repr__ = __str__ = HostileFloat._exit
    __hash__ = int.__hash__


class HostileText(str):
    __slots__ = ()
    __len__ = __getitem__ = __eq__ = __str__ = isprintable = encode = HostileFloat._exit  # type: ignore[assignment]
    __hash__ = str.__hash__


class ExitsAsText:
    def __str__(self) -> str:
        raise SystemExit(3)


class HasHostileText:
    def __str__(self) -> str:
        return HostileText("x")


def test_what_is_reported_has_pythons_own_types(waiting: Context) -> None:
    waiting.progress(HostileFloat(1), HostileInt(2), percent=HostileFloat(50), message=HostileText("m"))
    waiting.progress(step=HostileText("s"), unit=HasHostileText())  # type: ignore[arg-type]
    waiting.log(HostileText("l"), HostileText("warning"))
    waiting.log(HasHostileText(), 3)  # type: ignore[arg-type]
    waiting.result_url = HostileText("/x")
    values = waiting._reported.take()
    assert values == (1.0, 2, 50.0, "x", "m", "s")
    lines = waiting._logs.take()
    assert [(line.level, line.message) for line in lines] == [("warning", "l"), ("info", "x")]
    texts = [part for line in lines for part in (line.level, line.message)]
    assert {type(each) for each in (*values, *texts, waiting.result_url)} == {int, float, str}


def test_what_a_reported_value_raises_is_raised_in_the_handler(waiting: Context) -> None:
    with pytest.raises(SystemExit):
        waiting.progress(message=ExitsAsText())  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["1", object(), [], True])
def test_what_is_no_number_counts_as_unknown(waiting: Context, value: Any) -> None:
    waiting.progress(1, 2)
    waiting.progress(value)
    assert (waiting._reported.take() or ())[0] in {None, True}


def test_progress_values_that_are_left_out_stay_as_they_were(blocking: BlockingContext) -> None:
    blocking.progress(done=1, total=10, message="one", step="a", unit="rows")
    blocking.progress(done=2)
    blocking.progress(message="two")
    assert blocking._reported.take() == (2, 10, None, "rows", "two", "a")
    assert blocking._reported.take() is None


def test_none_leaves_a_progress_value_and_zero_sets_it(blocking: BlockingContext) -> None:
    blocking.progress(done=0, total=0, percent=0, message="")
    assert blocking._reported.take() == (0, 0, 0, None, "", None)


def test_directories_are_created_on_first_use(blocking: BlockingContext, tmp_path: Path) -> None:
    assert list(tmp_path.iterdir()) == []
    assert blocking.work_dir == tmp_path / "work"
    assert blocking.output_dir == tmp_path / "output-2"
    assert blocking.data_dir == tmp_path / "data"
    assert {path.name for path in tmp_path.iterdir()} == {"work", "output-2", "data"}


def test_a_resumed_attempt_has_the_checkpoint(tmp_path: Path) -> None:
    stored: list[str] = []
    first = BlockingContext(sync_checkpoint=stored.append, **common(tmp_path))
    assert first.resumed is None
    first.checkpoint({"row": 7, "ü": [1.5, None]})
    assert stored == ['{"row":7,"ü":[1.5,null]}']
    again = BlockingContext(sync_checkpoint=stored.append, **common(tmp_path, stored[0]))
    assert again.resumed == {"row": 7, "ü": [1.5, None]}


async def test_a_checkpoint_that_is_too_large_is_an_error_of_its_handler(
    blocking: BlockingContext, waiting: Context
) -> None:
    blocking.checkpoint("x" * (CHECKPOINT_BYTES - 2))
    with pytest.raises(ValueError, match="a checkpoint has at most 1,048,576 bytes as JSON, not 1,048,577"):
        blocking.checkpoint("x" * (CHECKPOINT_BYTES - 1))
    with pytest.raises(ValueError, match="a checkpoint has at most"):
        await waiting.checkpoint("ä" * CHECKPOINT_BYTES)


async def test_an_async_checkpoint_is_stored_on_return(tmp_path: Path) -> None:
    stored: list[str] = []

    async def store(text: str) -> None:
        await asyncio.sleep(0)
        stored.append(text)

    await Context(async_checkpoint=store, start_process=Subprocesses().start, **common(tmp_path)).checkpoint([1])
    assert stored == ["[1]"]


def test_a_cancelled_attempt_stores_no_checkpoint(blocking: BlockingContext) -> None:
    blocking._cancelled = True
    with pytest.raises(JobCancelled):
        blocking.checkpoint(1)


def test_a_checkpoint_that_json_cannot_hold_raises_in_the_handler(blocking: BlockingContext) -> None:
    with pytest.raises(ValueError, match="serialize"):
        blocking.checkpoint(object())


# Tracking


def test_tracking_reports_each_item_when_it_is_done(blocking: BlockingContext) -> None:
    tracked = blocking.track(["a", "b"], unit="items", message="on it", step="one")
    seen = [(item, blocking._reported.done, blocking._reported.total) for item in tracked]
    assert seen == [("a", 0, 2), ("b", 1, 2)]
    assert blocking._reported.take() == (2, 2, None, "items", "on it", "one")


def test_tracking_without_a_length_has_no_total(blocking: BlockingContext) -> None:
    blocking.progress(total=99)
    assert list(blocking.track(iter("abc"))) == ["a", "b", "c"]
    assert (blocking._reported.done, blocking._reported.total) == (3, None)
    assert list(blocking.track(iter("abc"), total=7)) == ["a", "b", "c"]
    assert blocking._reported.total == 7


def test_tracking_an_empty_list_reports_zero_of_zero(blocking: BlockingContext) -> None:
    assert list(blocking.track([])) == []
    assert (blocking._reported.done, blocking._reported.total) == (0, 0)


def test_tracking_stops_when_the_job_is_cancelled(blocking: BlockingContext) -> None:
    seen = []

    def handler() -> None:
        for item in blocking.track(range(10)):
            seen.append(item)
            blocking._cancelled = item == 3

    with pytest.raises(JobCancelled):
        handler()
    assert seen == [0, 1, 2, 3]
    assert blocking._reported.done == 4, "the item that was finished counts"
    assert blocking.cancelled
    with pytest.raises(JobCancelled):
        blocking.raise_if_cancelled()


def test_except_exception_does_not_swallow_a_cancel() -> None:
    assert not issubclass(JobCancelled, Exception)


async def test_async_tracking_takes_both_kinds_of_items(waiting: Context) -> None:
    async def numbers() -> AsyncIterator[int]:
        for number in range(3):
            await asyncio.sleep(0)
            yield number

    assert [item async for item in waiting.track(range(3), step="one")] == [0, 1, 2]
    assert (waiting._reported.done, waiting._reported.total) == (3, 3)
    assert [item async for item in waiting.track(numbers(), unit="n")] == [0, 1, 2]
    assert (waiting._reported.done, waiting._reported.total, waiting._reported.unit) == (3, None, "n")


async def test_async_tracking_yields_to_the_loop_and_can_be_cancelled(
    waiting: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loop without any await of its own would otherwise hold the server up, and could not be stopped."""
    monkeypatch.setattr("headway.authoring.contexts.YIELD_AFTER_S", -1.0)
    done = 0

    async def work() -> None:
        nonlocal done
        async for _ in waiting.track(range(10_000_000)):
            done += 1

    task = asyncio.create_task(work())
    for _ in range(5):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert 0 < done < 100


async def test_async_raise_if_cancelled(waiting: Context) -> None:
    waiting.raise_if_cancelled()
    waiting._cancelled = True
    with pytest.raises(asyncio.CancelledError):
        waiting.raise_if_cancelled()


def test_breaking_out_of_tracking_closes_the_source(blocking: BlockingContext) -> None:
    closed = []

    def source() -> Iterator[int]:
        try:
            yield from range(10)
        finally:
            closed.append(True)

    tracked = blocking.track(source())
    assert next(tracked) == 0
    tracked.close()  # type: ignore[attr-defined]
    del tracked
    assert closed == [True]


# The log


def messages(buffer: LogBuffer, *, final: bool = False) -> list[str]:
    return [line.message for line in buffer.take(final=final)]


def test_log_lines_are_taken_once_and_in_order() -> None:
    buffer = LogBuffer(Clock())
    buffer.add("info", "one")
    buffer.add("error", "two")
    lines = buffer.take()
    assert [(line.level, line.message) for line in lines] == [("info", "one"), ("error", "two")]
    assert buffer.take() == []
    assert lines[0].at.tzinfo is UTC
    assert lines[0].at.microsecond % 1000 == 0


def test_log_lines_that_could_not_be_stored_come_before_newer_ones() -> None:
    buffer = LogBuffer(Clock())
    for text in ("one", "two"):
        buffer.add("info", text)
    taken = buffer.take()
    buffer.add("info", "three")
    buffer.put_back(taken)
    assert messages(buffer) == ["one", "two", "three"]


def test_a_burst_of_log_lines_is_limited_and_the_last_line_says_so_once() -> None:
    clock = Clock()
    buffer = LogBuffer(clock)
    for number in range(LOG_BURST_LINES + 1_234):
        buffer.add("info", f"{number}")
    assert messages(buffer) == [f"{number}" for number in range(LOG_BURST_LINES)]
    clock.now_s += 0.0625
    for number in range(10):
        buffer.add("info", f"later {number}")
    allowed = int(0.0625 * LOG_LINES_PER_SECOND)
    assert messages(buffer) == [f"later {number}" for number in range(allowed)]
    assert messages(buffer, final=True) == ["1,238 log lines were dropped: there were too many"]


def test_what_the_server_itself_has_to_say_is_not_limited() -> None:
    buffer = LogBuffer(Clock())
    for _ in range(LOG_BURST_LINES + 1):
        buffer.add("info", "x")
    buffer.note("error", "why it failed")
    assert messages(buffer)[LOG_BURST_LINES:] == ["why it failed"]


def test_a_child_that_is_broken_cannot_fill_the_log() -> None:
    buffer = LogBuffer(Clock())
    for _ in range(LOG_LINES_PER_ATTEMPT + 3):
        buffer.relay(log_line("info", "x"))
    assert len(messages(buffer)) == LOG_LINES_PER_ATTEMPT
    assert messages(buffer, final=True) == ["3 log lines were dropped: there were too many"]


def test_log_lines_are_rate_limited() -> None:
    clock = Clock()
    buffer = LogBuffer(clock)
    through = 0
    for _ in range(20_000):
        clock.now_s += 0.001
        buffer.add("info", "x")
        through += sum(message == "x" for message in messages(buffer))
    assert through == pytest.approx(LOG_BURST_LINES + 20 * LOG_LINES_PER_SECOND, abs=2)


def test_log_lines_of_an_attempt_are_limited_and_the_last_one_counts_those_dropped() -> None:
    clock = Clock()
    buffer = LogBuffer(clock)
    for _ in range(LOG_LINES_PER_ATTEMPT + 7):
        clock.now_s += 1
        buffer.add("info", "x")
    assert messages(buffer) == ["x"] * LOG_LINES_PER_ATTEMPT
    assert messages(buffer, final=True) == ["7 log lines were dropped: there were too many"]
    assert messages(buffer, final=True) == []


def test_a_long_log_line_is_truncated_and_an_unprintable_one_cleaned() -> None:
    buffer = LogBuffer(Clock())
    buffer.add("shout", "x" * (LOG_LINE_CHARS + 1))
    buffer.add("info", "a\0b\udc80")
    buffer.add("info", 42)  # type: ignore[arg-type]
    long, odd, number = buffer.take()
    assert (long.level, len(long.message)) == ("info", LOG_LINE_CHARS)
    assert long.message.endswith("x… (cut from 4,001 characters)")
    assert (odd.message, number.message) == ("a�b�", "42")


def test_no_log_line_is_lost_while_another_thread_takes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worst moment, made certain: the lines are taken while a line is being made."""
    buffer = LogBuffer(Clock())
    taken = []
    real = LogBuffer.add.__globals__["log_line"]

    def slow_line(level: str, message: str) -> Any:
        made = real(level, message)
        taking = threading.Thread(target=lambda: taken.extend(buffer.take()))
        taking.start()
        taking.join()
        return made

    monkeypatch.setattr("headway.authoring.reporting.log_line", slow_line)
    buffer.add("info", "one")
    taken += buffer.take()
    assert [line.message for line in taken] == ["one"]


# Where the result is


@pytest.mark.parametrize("url", ["/api/todos/1?x=%20#top", "https://example.org/a", "http://[::1]:80/", "/", None])
def test_a_result_url_may_be_a_path_or_a_url(blocking: BlockingContext, url: str | None) -> None:
    blocking.result_url = url
    assert blocking.result_url == url


@pytest.mark.parametrize(
    "url", ["", "todos/1", "//example.org/", "/\\example.org", "ftp://x/", "javascript:x", "/a b", "/ä", "/a\r\nX: y"]
)
def test_a_result_url_that_a_location_header_cannot_hold_is_rejected(waiting: Context, url: str) -> None:
    with pytest.raises(ValueError, match="result_url must be a path"):
        waiting.result_url = url
    assert waiting.result_url is None


def test_a_result_url_that_is_too_long_is_rejected(blocking: BlockingContext) -> None:
    with pytest.raises(ValueError, match="result_url must be a path"):
        blocking.result_url = "/" + "x" * RESULT_URL_CHARS
