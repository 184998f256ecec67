"""`uncancellable`: a wait that survives the cancellation of its caller."""

import asyncio

import pytest
from headway.loops import uncancellable


class Work:
    """Work that lasts until the test ends it."""

    def __init__(self) -> None:
        self.may_end = asyncio.Event()
        self.ended = False

    async def do(self) -> str:
        await self.may_end.wait()
        self.ended = True
        return "done"

    async def fail(self) -> str:
        await self.do()
        raise RuntimeError("broken")


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_without_a_cancellation_it_is_a_plain_await() -> None:
    work = Work()
    work.may_end.set()
    assert await uncancellable(work.do()) == "done"
    with pytest.raises(RuntimeError, match="broken"):
        await uncancellable(work.fail())


@pytest.mark.parametrize("times", [1, 2, 5])
async def test_the_work_is_done_however_often_its_caller_is_cancelled(times: int) -> None:
    work = Work()
    caller = asyncio.create_task(uncancellable(work.do()))
    await settle()
    for _ in range(times):
        caller.cancel()
        await settle()
        assert not caller.done()
    work.may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert work.ended


async def test_a_caller_that_is_cancelled_before_its_first_step_never_began() -> None:
    work = Work()
    making = work.do()
    caller = asyncio.create_task(uncancellable(making))
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert not work.ended
    making.close()


async def test_work_that_is_cancelled_itself_raises_the_cancellation() -> None:
    task = asyncio.create_task(Work().do())
    caller = asyncio.create_task(uncancellable(task))
    await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert task.cancelled()


async def test_a_cancelled_caller_gets_the_error_too() -> None:
    work = Work()
    caller = asyncio.create_task(uncancellable(work.fail()))
    await settle()
    caller.cancel()
    await settle()
    work.may_end.set()
    with pytest.raises(RuntimeError, match="broken"):
        await caller
