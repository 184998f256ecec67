"""`Turns`: one piece of work at a time for each owner."""

import asyncio

import pytest
from headway.web.turns import Turns


async def test_an_owner_has_one_piece_of_work_in_progress_and_others_do_not_wait_for_it() -> None:
    turns, events, may_end = Turns(), [], asyncio.Event()

    async def work(owner: str, name: str) -> None:
        async with turns.of(owner):
            events.append(f"{name} began")
            if owner == "ann":
                await may_end.wait()
            events.append(f"{name} ended")

    tasks = [asyncio.create_task(work("ann", "first")), asyncio.create_task(work("ann", "second"))]
    await asyncio.create_task(work("bob", "other"))
    assert events == ["first began", "other began", "other ended"]
    may_end.set()
    await asyncio.gather(*tasks)
    assert events[3:] == ["first ended", "second began", "second ended"]
    assert len(turns) == 0


async def test_a_turn_that_is_given_up_is_the_next_ones() -> None:
    turns = Turns()
    waiting = asyncio.Event()

    async def wait() -> None:
        async with turns.of("ann"):
            waiting.set()
            await asyncio.Event().wait()

    first, second = asyncio.create_task(wait()), asyncio.create_task(wait())
    await waiting.wait()
    second.cancel()
    first.cancel()
    for task in (first, second):
        with pytest.raises(asyncio.CancelledError):
            await task
    assert len(turns) == 0
    async with turns.of("ann"):
        assert len(turns) == 1
