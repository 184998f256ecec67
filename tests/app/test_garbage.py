"""What a job leaves behind in the server's memory when it has ended: nothing that waits for a garbage collection."""

import asyncio
import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from headway import Context, Headway, Settings, job
from headway.running.attempt import Attempt

A_FEW_TURNS = 50
"""How many an attempt's task has still to go when the end of its job is recorded."""


@job("talkative")
async def talkative(ctx: Context) -> None:
    async for _ in ctx.track(range(3)):
        ctx.log("one more")


@pytest.fixture(autouse=True)
def _logging_is_configured() -> Iterator[None]:
    """Otherwise the server would configure it for the whole process."""
    structlog.configure()
    yield
    structlog.reset_defaults()


@pytest.fixture
def _without_collections() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def attempts() -> int:
    return sum(isinstance(each, Attempt) for each in gc.get_objects())


@pytest.mark.usefixtures("_without_collections")
async def test_an_attempt_that_has_ended_is_freed_without_a_garbage_collection(tmp_path: Path) -> None:
    before = attempts()
    async with Headway(Settings(data_dir=str(tmp_path), tick_s=0), [talkative]) as server:
        for _ in range(3):
            submitted = await server.submit("talkative")
            await server.wait(submitted.id)
        for _ in range(A_FEW_TURNS):
            await asyncio.sleep(0)
        assert attempts() == before
