"""Large bodies of one sharer wait for room before they are read."""

import asyncio

import pytest
from headway.web.connections import arriving_bodies
from headway.web.connections.arriving_bodies import MAX_TEXT_BYTES, ArrivingBodies
from headway.web.problems import Problem

QUARTER = MAX_TEXT_BYTES // 4


async def test_a_body_waits_until_there_is_room_for_all_of_it_and_others_do_not() -> None:
    arriving, events, may_end = ArrivingBodies(0), list[str](), asyncio.Event()

    async def receive(sharer: str, name: str, length: int) -> None:
        async with arriving.announced_text(sharer, length) as count:
            events.append(f"{name} begins")
            if sharer == "ann":
                await may_end.wait()
            count(length)
        events.append(f"{name} ends")

    tasks = [asyncio.create_task(receive("ann", name, 2 * QUARTER)) for name in ("first", "second", "third")]
    await asyncio.create_task(receive("bob", "other", MAX_TEXT_BYTES))
    assert events == ["first begins", "second begins", "other begins", "other ends"]
    with arriving.text("bob") as count:
        count(MAX_TEXT_BYTES)  # there is room again
    may_end.set()
    await asyncio.gather(*tasks)
    assert events[4:6] == ["first ends", "second ends"]
    assert events[6:] == ["third begins", "third ends"]


async def test_more_than_was_announced_counts_too() -> None:
    arriving = ArrivingBodies(0)
    async with arriving.announced_text("ann", QUARTER) as count:
        count(QUARTER - 1)
        count(2)
        with arriving.text("ann") as of_another:
            of_another(3 * QUARTER - 1)
            with pytest.raises(Problem):
                count(1)


async def test_a_body_for_which_there_is_no_room_for_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arriving_bodies, "ROOM_WAIT_S", 0.01)
    arriving = ArrivingBodies(0)
    with arriving.text("ann") as count:
        count(MAX_TEXT_BYTES - QUARTER + 1)
        with pytest.raises(Problem) as refused:
            async with arriving.announced_text("ann", QUARTER):
                pytest.fail("there is no room")
        assert refused.value.status == 429
    async with arriving.announced_text("ann", MAX_TEXT_BYTES):
        pass


async def test_a_wait_that_is_given_up_holds_no_room() -> None:
    arriving = ArrivingBodies(0)
    with arriving.text("ann") as count:
        count(MAX_TEXT_BYTES)
        waiting = asyncio.create_task(_nothing(arriving))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    async with asyncio.timeout(60), arriving.announced_text("ann", MAX_TEXT_BYTES):
        pass


async def _nothing(arriving: ArrivingBodies) -> None:
    async with arriving.announced_text("ann", MAX_TEXT_BYTES):
        pytest.fail("there is no room")
