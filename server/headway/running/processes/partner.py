"""A child process with the channel to it: the other side of a conversation, or of several if it is kept."""

import asyncio
from contextlib import suppress
from typing import Protocol

from .channel import AsyncChannel
from .starting import Child, Exit


class Partner:
    """A child and its channel. Call `close` at the end: nothing of it is left then."""

    def __init__(self, child: Child, channel: AsyncChannel) -> None:
        self.child = child
        self.channel = channel
        self.exiting: asyncio.Task[Exit] = asyncio.create_task(child.wait())
        """Ends with the child, once nothing that it started is left."""
        self.stays = False
        """Whether it has ended its attempt well and waits for another one."""

    @classmethod
    async def of(cls, child: Child) -> "Partner":
        """Open the channel to a child that has been started. If that fails, the child is closed."""
        try:
            reader, writer = await asyncio.open_connection(sock=child.channel)
        except BaseException:
            child.channel.close()
            await child.close()
            raise
        return cls(child, AsyncChannel(reader, writer))

    async def close(self) -> None:
        """Kill the child if it still runs, and wait for its end."""
        self.channel.close()
        try:
            await self.child.close()
        finally:
            self.exiting.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.wait({self.exiting})


class Partners(Protocol):
    """Has a partner for each attempt."""

    async def start(self, source: str, job_type: str) -> Partner:
        """A child that waits for an attempt of the type called `job_type`, of the module `source`.

        Raises `LoadFailedError` and `OSError`.
        """
        ...

    async def part(self, partner: Partner, job_type: str, *, keep: bool) -> None:
        """The attempt has ended. `keep`: unless it was stopped, the child may run others if it `stays` for them."""
