"""`Clock`: a test moves the time of the process, and it is put back."""

import asyncio
from datetime import timedelta

import pytest
from headway.clock import steady_s, utc_now
from headway.testing import Clock
from headway.testing.clock import following


def test_both_clocks_are_moved_and_put_back() -> None:
    before, steady_before = utc_now(), steady_s()
    with Clock() as clock:
        clock.advance(3600)
        clock.advance(timedelta(days=1))
        moved = timedelta(hours=25)
        assert moved <= clock.now() - before < moved + timedelta(minutes=10)
        assert 0 <= steady_s() - steady_before - moved.total_seconds() < 600
    assert utc_now() - before < timedelta(minutes=10)
    assert steady_s() - steady_before < 600


def test_it_only_goes_forward() -> None:
    with Clock() as clock, pytest.raises(ValueError, match="forward"):
        clock.advance(-1)


async def test_what_sleeps_in_the_loop_of_the_test_wakes() -> None:
    sleeping = asyncio.create_task(asyncio.sleep(3600))
    await asyncio.sleep(0)
    with Clock() as clock:
        clock.advance(3601)
        await sleeping


def test_who_follows_is_told_and_only_within_the_block() -> None:
    told = []
    loop = asyncio.SelectorEventLoop()
    try:
        before = loop.time()
        with Clock() as clock:
            with following(loop, lambda: told.append(1)):
                clock.advance(10)
            clock.advance(10)
        assert told == [1]
        assert 10 <= loop.time() - before < 20, "it is not put back, or timers would be late"
    finally:
        loop.close()
