"""The job types of a comparison: one file for all commits, whatever their package is called.

It is `headway`; until a289194 it was `server`.
"""

import asyncio
import sys
import time
from importlib import import_module
from typing import TYPE_CHECKING

from pydantic import BaseModel

if TYPE_CHECKING:
    from headway import Context, job
else:
    # The server that loads this file has its own package loaded, and no other commit's.
    package = import_module("headway" if "headway" in sys.modules else "server")
    Context, job = package.Context, package.job

FRAMES = 1_000_000
"""The total of the publishing handler: out of reach, so that no frame is the last."""


class Control(BaseModel):
    port: int


@job("compare-noop")
async def noop(ctx: Context) -> None:
    """Does nothing."""


@job("compare-blocked", concurrency=1)
async def blocked(ctx: Context) -> None:
    """Occupies the type's only slot: further jobs stay queued."""
    await asyncio.Event().wait()


@job("compare-publish")
async def publish(ctx: Context, input: Control) -> None:
    """An update for each byte that the load generator sends, with the instant of the call as its message."""
    reader, _ = await asyncio.open_connection("127.0.0.1", input.port)
    number = 0
    while await reader.read(1):
        number += 1
        ctx.progress(done=number, total=FRAMES, unit="frames", message=f"{time.monotonic_ns():020d}")
