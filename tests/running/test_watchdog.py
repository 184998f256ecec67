"""The watchdog names the handler that blocks the event loop, once for each time that it is blocked."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from headway import Context, job
from headway.metrics import Histogram, Metrics
from headway.running import watchdog
from headway.running.watchdog import LoopWatchdog
from typing_extensions import override

from tests.support.attempts import registry_of
from tests.support.process import WAIT_TIMEOUT_S


class Log:
    """What the watchdog logs; `spoke` is set at each line."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []
        self.spoke = threading.Event()

    def warning(self, event: str, **values: Any) -> None:
        self.lines.append((event, values))
        self.spoke.set()


class Lag(Histogram):
    """Passes on what is observed."""

    def __init__(self) -> None:
        super().__init__((1.0,))
        self.observed: asyncio.Queue[float] = asyncio.Queue()

    @override
    def observe(self, value: float) -> None:
        self.observed.put_nowait(value)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    """The watchdog's log; it is impatient, so that the tests are quick."""
    log = Log()
    monkeypatch.setattr(watchdog, "log", log)
    monkeypatch.setattr(watchdog, "BLOCKED_AFTER_S", 0.02)
    monkeypatch.setattr(watchdog, "BEAT_EVERY_S", 0.005)
    return log


@pytest.fixture
def watched() -> Iterator[list[LoopWatchdog]]:
    """Watchdogs to be stopped at the end of the test."""
    watchdogs: list[LoopWatchdog] = []
    yield watchdogs
    for each in watchdogs:
        each.stop()
        each._thread.join(WAIT_TIMEOUT_S)


def watch(watched: list[LoopWatchdog], *handlers: Any) -> None:
    made = LoopWatchdog(asyncio.get_running_loop(), registry_of(*handlers), Metrics().loop_lag)
    watched.append(made)
    made.start()


async def test_the_handler_that_blocks_the_loop_is_named(log: Log, watched: list[LoopWatchdog]) -> None:
    def computes() -> None:
        assert log.spoke.wait(WAIT_TIMEOUT_S), "the watchdog said nothing"

    @job("blocks")
    async def blocks(ctx: Context) -> None:
        computes()

    watch(watched, blocks)
    await blocks(None)  # type: ignore[arg-type]
    event, values = log.lines[0]
    assert event == "an async handler blocks the event loop: make it a plain def, or let it await"
    assert values["type"] == "blocks"
    assert "threading.py" in values["where"], "the line at which it stands"


async def test_anything_else_that_blocks_the_loop_is_placed(log: Log, watched: list[LoopWatchdog]) -> None:
    watch(watched)
    assert log.spoke.wait(WAIT_TIMEOUT_S)
    event, values = log.lines[0]
    assert event == "the event loop is blocked"
    assert "type" not in values


class Rounds:
    """Stands in for the event that ends the watchdog: each wait is a round, before which the test changes something."""

    def __init__(self, *changes: Callable[[], None]) -> None:
        self._changes = iter(changes)

    def wait(self, _timeout_s: float) -> bool:
        change = next(self._changes, None)
        if change is not None:
            change()
        return change is None

    def set(self) -> None:
        """There are no more rounds anyway."""


async def test_each_time_that_the_loop_is_blocked_is_named_once(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now_s=1000.0)
    monkeypatch.setattr(watchdog, "time", SimpleNamespace(monotonic=lambda: clock.now_s))
    watching = LoopWatchdog(asyncio.get_running_loop(), registry_of(), Metrics().loop_lag)

    def passes() -> None:
        clock.now_s += 1

    def turns() -> None:
        watching._beat_s = clock.now_s

    monkeypatch.setattr(watching, "_stopped", Rounds(turns, passes, passes, passes, turns, turns, passes, passes))
    watching._watch()
    assert [values["held_s"] for _, values in log.lines] == [1.0, 1.0]


async def test_the_loops_lag_is_measured(log: Log, watched: list[LoopWatchdog]) -> None:
    lag = Lag()
    watching = LoopWatchdog(asyncio.get_running_loop(), registry_of(), lag)
    watched.append(watching)
    watching.start()
    async with asyncio.timeout(WAIT_TIMEOUT_S):
        assert await lag.observed.get() >= 0
        assert await lag.observed.get() >= 0
