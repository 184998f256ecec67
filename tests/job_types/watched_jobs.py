"""Job types for many watchers: one that reports all the time, one that inspects the server from inside."""

import asyncio
import os
from pathlib import Path

from headway import Context, job
from pydantic import BaseModel


class Updates(BaseModel):
    """How many updates, in bursts, between two gates that the test opens."""

    updates: int
    burst: int
    begin: Path
    end: Path


@job("reports-all-the-time")
async def reports_all_the_time(ctx: Context, input: Updates) -> int:
    """Each update has 2 kB, so that a stalled reader is soon behind."""
    await _opened(input.begin)
    for number in range(input.updates):
        ctx.progress(done=number + 1, total=input.updates, message=f"{number} " + "😀" * 480, step="😀" * 80)
        if number % input.burst == 0:
            await asyncio.sleep(0.01 if input.burst > 1 else 0)
    await _opened(input.end)
    return input.updates


async def _opened(gate: Path) -> None:
    while not gate.exists():  # noqa: ASYNC110, ASYNC240 - the test is another process
        await asyncio.sleep(0.02)


@job("looks-inside")
async def looks_inside(ctx: Context) -> dict[str, int]:
    """Counts the tasks and open files of the server."""
    files = os.listdir("/proc/self/fd")  # noqa: PTH208 - names are enough
    return {"tasks": len(asyncio.all_tasks()), "files": len(files)}
