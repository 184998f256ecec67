"""Whatever else an event loop has to do, while something that takes long is tested."""

import asyncio
from collections.abc import Coroutine
from typing import Any


async def turns_during(work: Coroutine[Any, Any, object]) -> int:
    """How many turns another task of this event loop has had until `work` is done."""
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(others())
        await work
        task.cancel()
    return turns
