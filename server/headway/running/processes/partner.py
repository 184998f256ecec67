"""A child process with the channel to it: the other side of a conversation, or of several if it is kept."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from .async_channel import AsyncChannel
from .starting import Child


class Partner:
    """A child and its channel. Call `close` at the end: nothing of it is left then."""

    def __init__(self, child: Child) -> None:
        """Open the channel to a child that has been started."""
        self.child = child
        self.channel = AsyncChannel(child.channel)
        self.exiting = child.exiting
        self.cpu_s = 0.0
        """The CPU time that it has used for the attempts whose use is known."""
        self.stays = False
        """Whether it has ended its attempt well and waits for another one."""

    async def close(self) -> None:
        """Kill the child if it still runs, and wait for its end."""
        self.channel.close()
        await self.child.close()

    @contextmanager
    def heard_within(self, within_s: float) -> Iterator[None]:
        """Within the block, nothing is received later than `within_s` seconds after the child's end.

        Something that it started may hold its end of the channel open.
        """
        loop = asyncio.get_running_loop()
        late: list[asyncio.TimerHandle] = []

        def ended(_exiting: object) -> None:
            late.append(loop.call_later(within_s, self.channel.hear_no_more))

        self.exiting.add_done_callback(ended)
        try:
            yield
        finally:
            self.exiting.remove_done_callback(ended)
            for timer in late:
                timer.cancel()


class Partners(Protocol):
    """Has a partner for each attempt."""

    async def start(self, source: str, job_type: str) -> Partner:
        """A child that waits for an attempt of the type called `job_type`, of the module `source`.

        Raises `LoadFailedError` and `OSError`.
        """
        ...

    async def part(self, partner: Partner, job_type: str, *, keep: bool) -> None:
        """The attempt has ended. `keep`: unless it was stopped, the child may run others if it `stays` for them."""
