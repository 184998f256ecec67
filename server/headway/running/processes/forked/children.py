"""The children of one nursery: spares, those that run attempts, and the queue of attempts that need one."""

import asyncio
import os
import signal
import socket
from contextlib import suppress
from pathlib import Path

from ...cgroups.cgroup import cgroup_of
from ...limits import DIE_WITHIN_S
from ..starting import Exit
from .packets import Packets


class ForkedChild:
    """A child of a nursery (`starting.Child`)."""

    def __init__(self, pid: int, channel: socket.socket, nursery: Packets, cgroups: Path | None) -> None:
        self.cgroup = None if cgroups is None else cgroup_of(pid, cgroups)
        self.pid = pid
        self.channel = channel
        self.exiting: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self._nursery = nursery
        self._giving_up: asyncio.TimerHandle | None = None

    def terminate(self) -> None:
        """Send SIGTERM to the child alone.

        The nursery does it, because only a parent knows that the process id is still its child's.
        """
        self._nursery.send(f"term {self.pid}")

    def kill(self) -> None:
        """Kill the child and everything in its group."""
        self._nursery.send(f"kill {self.pid}")
        if self._giving_up is None and not self.exiting.done():
            held_up = Exit(-signal.SIGKILL, left=(self.pid,))
            # Once the child has ended, the nursery may take as long again for what it has left.
            self._giving_up = self.exiting.get_loop().call_later(2 * DIE_WITHIN_S, self.ended, held_up)

    async def close(self) -> None:
        if not self.exiting.done():
            self.kill()
            await asyncio.wait({self.exiting})

    def ended(self, exit: Exit) -> None:
        if self._giving_up is not None:
            self._giving_up.cancel()
        if not self.exiting.done():
            self.exiting.set_result(exit)


class Children:
    """Hands ready children out. Knows nothing of how their nursery lives."""

    def __init__(self, spares: int) -> None:
        """`spares`: how many children wait ready."""
        self._spares = spares
        self._asked = 0
        self._ready: dict[int, ForkedChild] = {}
        self._busy: dict[int, ForkedChild] = {}
        self._lost: list[ForkedChild] = []
        """Taken along by a nursery that died, and perhaps not dead yet."""
        self._waiting: list[tuple[str, asyncio.Future[ForkedChild]]] = []

    @property
    def asked(self) -> int:
        """How many children the nursery was asked to fork and has not yet."""
        return self._asked

    @property
    def lost(self) -> int:
        """How many attempts a nursery that died has taken along."""
        return len(self._lost)

    @property
    def awaited(self) -> bool:
        """Whether anybody waits for a child."""
        return any(not waiting.done() for _, waiting in self._waiting)

    def wait(self, source: str) -> asyncio.Future[ForkedChild]:
        """A child for a handler of the module `source`, once there is one. May be cancelled."""
        waiting: asyncio.Future[ForkedChild] = asyncio.get_running_loop().create_future()
        self._waiting.append((source, waiting))
        return waiting

    def hand_out(self) -> int:
        """Give ready children to those who wait for one. How many more are to be forked."""
        self._waiting = [(source, waiting) for source, waiting in self._waiting if not waiting.done()]
        while self._waiting and self._ready:
            _, waiting = self._waiting.pop(0)
            pid = next(iter(self._ready))
            child = self._busy[pid] = self._ready.pop(pid)
            waiting.set_result(child)
        missing = max(0, len(self._waiting) + self._spares - len(self._ready) - self._asked)
        self._asked += missing
        return missing

    def forked(self, child: ForkedChild) -> None:
        """The nursery has forked a child."""
        self._asked -= 1
        self._ready[child.pid] = child

    def refused(self, error: Exception) -> None:
        """The nursery could not fork one: the first who waits is told."""
        self._asked -= 1
        for _, waiting in self._waiting:
            if not waiting.done():
                waiting.set_exception(error)
                return

    def ended(self, pid: int, exit: Exit) -> None:
        """A child has ended, and nothing that it started is left."""
        spare = self._ready.pop(pid, None)
        if spare is not None:
            spare.channel.close()
        busy = self._busy.pop(pid, None)
        if busy is not None:
            busy.ended(exit)

    def fail(self, error: Exception, source: str | None = None) -> None:
        """Nobody gets a child who waits for one, of the module `source` if it is given."""
        for other, waiting in self._waiting:
            if source in (None, other) and not waiting.done():
                waiting.set_exception(error)

    def lose(self) -> None:
        """Their nursery has died."""
        self._asked = 0
        for child in self._ready.values():
            child.channel.close()
        self._lost += self._busy.values()
        self._ready.clear()
        self._busy.clear()

    def kill_lost(self) -> None:
        """Kill what a dead nursery left, where its keeper has died too."""
        for child in self._lost:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
            if child.cgroup is not None:
                child.cgroup.kill()

    def resolve_lost(self) -> None:
        """Nothing is left of those that a dead nursery has taken along."""
        for child in self._lost:
            child.ended(Exit(None))
        self._lost.clear()
