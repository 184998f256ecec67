"""`Readiness`: however many ask, the store is written to once in a while."""

import asyncio
from typing import Any, cast

import pytest
from headway.errors import StoreUnavailableError
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
    return Readiness(cast("Any", disk))


async def test_many_who_ask_at_once_cost_one_write(disk: Disk, readiness: Readiness) -> None:
    await asyncio.gather(*(readiness.check() for _ in range(1_000)))
    await readiness.check()
    assert disk.writes == 1


async def test_all_who_asked_hear_that_it_cannot_be_written(disk: Disk, readiness: Readiness) -> None:
    disk.full = True
    heard = await asyncio.gather(*(readiness.check() for _ in range(3)), return_exceptions=True)
    assert [type(each) for each in heard] == [StoreUnavailableError] * 3


async def test_the_next_look_is_taken_after_a_moment(
    disk: Disk, readiness: Readiness, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 100.0
    monkeypatch.setattr("headway.service.readiness.time.monotonic", lambda: now_s)
    await readiness.check()
    disk.full = True
    now_s += MAX_AGE_S
    with pytest.raises(StoreUnavailableError):
        await readiness.check()


async def test_who_stops_waiting_takes_the_answer_from_nobody(disk: Disk, readiness: Readiness) -> None:
    first, second = asyncio.create_task(readiness.check()), asyncio.create_task(readiness.check())
    await asyncio.sleep(0)
    first.cancel()
    await second
    assert disk.writes == 1
