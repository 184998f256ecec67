"""`Turns`: one piece of work at a time for each owner. `CommonTurns`: one for all of them together."""

import asyncio
from typing import Any

import pytest
from headway.turns import LONGEST_REST_S, CommonTurns, Turns


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


class Working:
    """Turns of one owner by a clock that only work moves, and the rests between them."""

    def __init__(self, **options: float) -> None:
        self.rests: list[float] = []
        self._now_s, self._options = 100.0, options
        self._turns = Turns(lambda: self._now_s, self._rest)

    async def _rest(self, seconds: float) -> None:
        self.rests.append(seconds)

    async def work(self, *each_s: float) -> None:
        """Pieces of work that begin together, each of which takes so long."""
        await asyncio.gather(*map(self._piece, each_s))

    async def _piece(self, took_s: float) -> None:
        options: Any = self._options
        async with self._turns.of("ann", **options):
            await asyncio.sleep(0)
            self._now_s += took_s


async def test_between_two_turns_of_an_owner_is_as_much_time_as_the_first_took() -> None:
    working = Working()
    await working.work(0.25, 60, 0)
    assert working.rests == [0.25, LONGEST_REST_S]
    await working.work(0)
    assert working.rests == [0.25, LONGEST_REST_S], "nobody waited for the one before"


async def test_what_leaves_the_loop_to_others_rests_only_if_more_wait_for_it() -> None:
    working = Working(at_ease=2)
    await working.work(0.25, 0.25)
    assert working.rests == []
    await working.work(0.25, 0.5, 0.5)
    assert working.rests == [0.25], "when the second one ended, only the third was left"


async def test_a_rest_may_take_several_times_as_long_up_to_the_longest() -> None:
    working = Working(rest=2.0)
    await working.work(0.25, 0.75, 0)
    assert working.rests == [0.5, LONGEST_REST_S]


async def test_owners_take_turns_however_many_pieces_of_work_one_has() -> None:
    turns, order = CommonTurns(), list[str]()

    async def work(owner: str) -> None:
        for _ in range(3):
            async with turns.of(owner):
                order.append(owner)
                await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        for owner in ["ann"] * 5 + ["bob"]:
            tasks.create_task(work(owner))
    assert order[:6] == ["ann", "bob"] * 3
    assert order[6:] == ["ann"] * 12


async def test_after_a_step_of_any_owner_there_is_as_much_time_for_other_work() -> None:
    now_s, rests = 100.0, []

    async def rest(seconds: float) -> None:
        rests.append(seconds)

    turns = CommonTurns(lambda: now_s, rest)

    async def work(owner: str, took_s: float) -> None:
        nonlocal now_s
        async with turns.of(owner):
            await asyncio.sleep(0)
            now_s += took_s

    await asyncio.gather(work("ann", 0.25), work("bob", 60), work("ann", 0.5))
    assert rests == [0.25, LONGEST_REST_S]
    now_s += 0.5
    await work("bob", 0)
    assert rests == [0.25, LONGEST_REST_S], "the time that has passed counts"


async def test_a_step_that_fails_or_is_cancelled_lets_the_next_one_in() -> None:
    turns, inside = CommonTurns(), asyncio.Event()

    async def hangs() -> None:
        async with turns.of("ann"):
            inside.set()
            await asyncio.Event().wait()

    async def fails() -> None:
        async with turns.of("ann"):
            raise ZeroDivisionError

    hanging, waiting = asyncio.create_task(hangs()), asyncio.create_task(hangs())
    await inside.wait()
    for task in (waiting, hanging):
        task.cancel()
        await asyncio.wait({task})
    with pytest.raises(ZeroDivisionError):
        await fails()
    async with asyncio.timeout(30), turns.of("bob"):
        await asyncio.sleep(0)
