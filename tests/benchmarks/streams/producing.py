"""The producers of a stream benchmark: when to publish, and the timestamp that a frame carries.

Headway's handlers and the Python peers use the same two rhythms. Both wait for the load generator's control
connection, so that nothing is published before all watchers are connected.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator

HOST = "127.0.0.1"
HEARTBEAT_S = 12.0
"""Headway's default, for the peers that have one."""
STAMP_DIGITS = 20

_begun: dict[int, asyncio.Task[None]] = {}


def stamp() -> str:
    """The current time for a frame to carry: the system's monotonic clock in ns, with a fixed number of digits."""
    return f"{time.monotonic_ns():0{STAMP_DIGITS}d}"


async def on_demand(port: int) -> AsyncIterator[int]:
    """A number for each byte from the control connection: as fast as the watchers receive frames."""
    reader, writer = await asyncio.open_connection(HOST, port)
    number = 0
    while await reader.read(1):
        number += 1
        yield number
    writer.close()


async def by_the_clock(port: int, updates: int, per_second: float) -> AsyncIterator[int]:
    """Numbers at this rate, from a random moment within the first interval; after `updates` it waits for ever."""
    if port not in _begun:
        _begun[port] = asyncio.create_task(_begin(port))
    await asyncio.shield(_begun[port])
    due_s = time.monotonic() + random.random() / per_second
    for number in range(1, updates + 1):
        await asyncio.sleep(max(0.0, due_s - time.monotonic()))
        yield number
        due_s += 1 / per_second
    await asyncio.Event().wait()


async def _begin(port: int) -> None:
    """Wait for the first byte of the control connection that all producers of a process share."""
    async for _ in on_demand(port):
        return
