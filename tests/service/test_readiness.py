"""`Readiness`: the store is tried once a second at most, and a failing background loop makes the server not ready."""

import asyncio
import gc
from typing import Any, cast

import pytest
from headway.errors import NotReadyError, StoreUnavailableError
from headway.loops import FailingLoop, Loops
from headway.service.readiness import MAX_AGE_S, Readiness


class Disk:
    """The part of a store that is asked; it counts how often."""

    def __init__(self) -> None:
        self.writes = 0
        self.full = False

    async def check_writable(self) -> None:
        self.writes += 1
        await asyncio.sleep(0)
        if self.full:
            raise StoreUnavailableError("the disk is full")


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def readiness(disk: Disk) -> Readiness:
    return Readiness(cast("Any", disk), Loops())


async def test_many_simultaneous_callers_cost_one_write(disk: Disk, readiness: Readiness) -> None:
    await asyncio.gather(*(readiness.check() for _ in range(1_000)))
    await readiness.check()
    assert disk.writes == 1


async def test_every_caller_learns_that_it_cannot_be_written(disk: Disk, readiness: Readiness) -> None:
    disk.full = True
    heard = await asyncio.gather(*(readiness.check() for _ in range(3)), return_exceptions=True)
    assert [type(each) for each in heard] == [StoreUnavailableError] * 3


async def test_the_next_check_is_made_after_a_moment(
    disk: Disk, readiness: Readiness, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 100.0
    monkeypatch.setattr("headway.service.readiness.time.monotonic", lambda: now_s)
    await readiness.check()
    disk.full = True
    now_s += MAX_AGE_S
    with pytest.raises(StoreUnavailableError):
        await readiness.check()


async def test_a_caller_that_stops_waiting_does_not_affect_the_others(disk: Disk, readiness: Readiness) -> None:
    first, second = asyncio.create_task(readiness.check()), asyncio.create_task(readiness.check())
    await asyncio.sleep(0)
    first.cancel()
    await second
    assert disk.writes == 1


async def test_a_failure_that_every_client_left_before_is_not_logged_as_lost(disk: Disk, readiness: Readiness) -> None:
    disk.full = True
    lost: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: lost.append(context))
    asking = asyncio.create_task(readiness.check())
    await asyncio.sleep(0)
    asking.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    readiness._attempt = None
    gc.collect()
    assert disk.writes == 1
    assert lost == []


async def test_a_failing_loop_makes_the_server_not_ready_and_says_why(disk: Disk) -> None:
    class Failing(Loops):
        @property
        def failing(self) -> list[FailingLoop]:
            return [FailingLoop("retention", "The background loop 'retention' has ended; restart the server.")]

    with pytest.raises(NotReadyError, match="retention"):
        await Readiness(cast("Any", disk), Failing()).check()
