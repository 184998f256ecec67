"""What a conversation needs of a child process, however it was started."""

import asyncio
import socket
from dataclasses import dataclass
from typing import Protocol

from ...domain.attempts import Usage
from ..calling import End
from ..cgroups.cgroup import Cgroup


@dataclass(frozen=True, slots=True)
class Exit:
    """How a child ended: its exit code, negative for a signal. `None`: it was lost with the nursery it came from."""

    code: int | None
    usage: Usage | None = None
    """What it used in its whole life, where its parent can say it."""
    left: tuple[int, ...] = ()
    """Processes of it that could not be killed: the kernel holds them up, or they are another user's."""


class LoadFailedError(Exception):
    """What the children of a type share could not be made; `end` is what that means for each attempt."""

    def __init__(self, end: End) -> None:
        super().__init__(repr(end))
        self.end = end


class Child(Protocol):
    """One child process, the leader of a group of its own. Call `close` at the end: nothing of it is left then."""

    pid: int
    channel: socket.socket
    """The server's end of the channel. It is the caller's to close."""
    cgroup: Cgroup | None
    """The one that it makes for itself and everything that it starts, if it is to have one."""
    exiting: asyncio.Future[Exit]
    """How the child ended, once nothing that it started is left, or can be killed. Shared: not to be cancelled."""

    def terminate(self) -> None:
        """Send SIGTERM to the child alone."""

    def kill(self) -> None:
        """Kill the child and everything in its group."""

    async def close(self) -> None:
        """Kill the child if it still runs, and wait for its end."""
