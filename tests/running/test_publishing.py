"""What attempts report is published when they ring: at once after a quiet tick, otherwise at the rate of the ticks."""

import asyncio

import pytest
from headway.errors import StoreUnavailableError
from headway.running.attempt import Attempt
from headway.running.publishing import BATCH, Publisher

from tests.support.attempts import FakeStore, an_attempt
from tests.support.process import WAIT_TIMEOUT_S

A_LONG_TICK_S = 1e6


class Bench:
    """A publisher whose turns the test takes."""

    def __init__(self, tick_s: float = A_LONG_TICK_S) -> None:
        self.store = FakeStore()
        self.running: dict[str, Attempt] = {}
        self.publisher = Publisher(self.store, self.running, tick_s)

    def attempt(self) -> Attempt:
        attempt = an_attempt()
        self.running[attempt.job.id] = attempt
        self.publisher.listen_to(attempt)
        return attempt

    async def published(self) -> list[float | int | None]:
        """What is published by the time that something is, but for what was before."""
        del self.store.ticks[:]
        async with asyncio.timeout(WAIT_TIMEOUT_S):
            while not self.store.ticks:
                await self.publisher.publish_progress()
        return [tick.progress.done for tick in self.store.ticks]


@pytest.fixture
async def bench() -> Bench:
    return Bench()


def report(attempt: Attempt, done: int) -> None:
    attempt.reported.done = done
    attempt.reported.mark_changed()


async def test_a_report_is_published_at_once_after_a_quiet_tick_and_so_is_the_next(bench: Bench) -> None:
    attempt = bench.attempt()
    for done in (1, 2):
        waiting = asyncio.create_task(bench.published())
        await asyncio.sleep(0)
        report(attempt, done)
        assert await waiting == [done]


async def test_the_reports_after_that_wait_for_the_tick(bench: Bench) -> None:
    attempt, other = bench.attempt(), bench.attempt()
    for done in (1, 2):
        report(attempt, done)
        assert await bench.published() == [done]
    report(attempt, 3)
    report(other, 1)
    assert await bench.published() == [1], "the others do not wait with it"


async def test_the_newest_report_is_published_when_it_is_due() -> None:
    bench = Bench(tick_s=0.001)
    attempt = bench.attempt()
    for done in range(10):
        report(attempt, done)
    assert await bench.published() == [9]
    report(attempt, 10)
    report(attempt, 11)
    assert await bench.published() == [11]
    report(attempt, 12)
    assert await bench.published() == [12]


async def test_what_is_due_is_published_as_one_batch_also_if_it_is_a_thousand_jobs(bench: Bench) -> None:
    attempts = [bench.attempt() for _ in range(1_000)]
    for done, attempt in enumerate(attempts):
        report(attempt, done)
    assert await bench.published() == list(range(1_000))


async def test_others_have_their_turn_between_two_batches_of_very_many(bench: Bench) -> None:
    attempts = [bench.attempt() for _ in range(BATCH + 20)]
    for done, attempt in enumerate(attempts):
        report(attempt, done)
    assert await bench.published() == list(range(BATCH))
    report(attempts[0], BATCH + 20)
    assert await bench.published() == list(range(BATCH, BATCH + 21)), "those that have waited come first"


async def test_what_could_not_be_written_yet_is_written_without_another_report(bench: Bench) -> None:
    bench.store.flushes_wanted = 3
    report(bench.attempt(), 1)
    async with asyncio.timeout(WAIT_TIMEOUT_S):
        while bench.store.flushes < 3:
            await bench.publisher.publish_progress()
    waiting = asyncio.create_task(bench.publisher.publish_progress())
    await asyncio.sleep(0)
    assert not waiting.done(), "nothing is left to write"
    waiting.cancel()


async def test_a_handler_may_report_from_a_thread_of_its_own(bench: Bench) -> None:
    attempt = bench.attempt()
    waiting = asyncio.create_task(bench.published())
    await asyncio.to_thread(report, attempt, 1)
    assert await waiting == [1]
    waiting_for_lines = asyncio.create_task(bench.publisher.publish_logs())
    await asyncio.to_thread(attempt.logs.add, "info", "from a thread")
    await waiting_for_lines
    assert bench.store.lines == ["from a thread"]


async def test_an_attempt_that_has_ended_is_not_published(bench: Bench) -> None:
    ended, attempt = bench.attempt(), bench.attempt()
    report(ended, 1)
    del bench.running[ended.job.id]
    report(attempt, 2)
    assert await bench.published() == [2]


async def test_log_lines_are_recorded_together(bench: Bench) -> None:
    one, other = bench.attempt(), bench.attempt()
    one.logs.add("info", "a")
    other.logs.add("info", "b")
    one.logs.add("info", "c")
    await bench.publisher.publish_logs()
    assert sorted(bench.store.lines) == ["a", "b", "c"]


async def test_log_lines_that_could_not_be_recorded_are_recorded_later(bench: Bench) -> None:
    bench.attempt().logs.add("info", "kept")
    bench.store.raises["append_logs"] = [StoreUnavailableError("disk full")]
    with pytest.raises(StoreUnavailableError):
        await bench.publisher.publish_logs()
    await bench.publisher.publish_logs()
    assert bench.store.lines == ["kept"]
