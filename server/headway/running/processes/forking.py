"""Children forked from the nursery, as the server sees them: some wait ready, and what has died is started again."""

import asyncio
import json
import os
import signal
import socket
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress

import structlog

from .keeping import KeeperProcess, start_keeper
from .packets import Packets, channel_of
from .starting import Exit

FIRST_BACKOFF_S = 0.1
LONGEST_BACKOFF_S = 5.0

log = structlog.get_logger(__name__)


class UnfitModuleError(Exception):
    """Processes with this module loaded cannot be forked."""


class ForkedChild:
    """A child of the nursery (`starting.Child`)."""

    def __init__(self, pid: int, channel: socket.socket, nursery: Packets) -> None:
        self.pid = pid
        self.channel = channel
        self.exit: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self._nursery = nursery

    def terminate(self) -> None:
        """Send SIGTERM to the child alone.

        The nursery does it, because only a parent knows that the process id is still its child's.
        """
        self._nursery.send(f"term {self.pid}")

    def kill(self) -> None:
        """Kill the child and everything in its group."""
        self._nursery.send(f"kill {self.pid}")

    async def wait(self) -> Exit:
        return await asyncio.shield(self.exit)

    async def close(self) -> None:
        if not self.exit.done():
            self.kill()
            await self.wait()

    def ended(self, code: int | None) -> None:
        if not self.exit.done():
            self.exit.set_result(Exit(code))


class Forking:
    """Forks a child for each attempt from a process that has the modules loaded."""

    def __init__(self, sources: Iterable[str], spares: int, prepared: KeeperProcess | None = None) -> None:
        """`sources`: the modules to load, by name or path. `spares`: how many children wait ready.

        `prepared`: a keeper that has been forked from this process.
        """
        self._sources = list(sources)
        self._spares = spares
        self._keeper = prepared
        self._control: Packets | None = None
        self._nursery: Packets | None = None
        self._nursery_since_s = 0.0
        self._loading: str | None = None
        """The module that the keeper is loading; if it dies, because of this one."""
        self._backoff_s = FIRST_BACKOFF_S
        self._asked = 0
        self._ready: dict[int, ForkedChild] = {}
        self._busy: dict[int, ForkedChild] = {}
        self._lost: list[ForkedChild] = []
        """Taken along by a nursery that died, and perhaps not dead yet."""
        self._waiting: deque[tuple[str, asyncio.Future[ForkedChild]]] = deque()
        self._closing = False

    async def open(self) -> None:
        """Begin to make children ready. Raises `OSError`."""
        self._watch(self._keeper or start_keeper(self._sources))

    async def close(self) -> None:
        """End all processes. Attempts have ended before."""
        self._closing = True
        for packets in (self._nursery, self._control):
            if packets is not None:
                packets.close()
        if self._keeper is not None:
            await asyncio.to_thread(self._keeper.end)
        for child in self._ready.values():
            child.channel.close()
        for child in [*self._busy.values(), *self._lost]:
            child.ended(None)

    async def start(self, source: str, job_type: str) -> ForkedChild:  # noqa: ARG002 - its attempt names it too
        """A child that waits for its attempt. Raises `UnfitModuleError`, and `OSError` if there is no room for it."""
        if source not in self._sources:
            raise UnfitModuleError(source)
        waiting: asyncio.Future[ForkedChild] = asyncio.get_running_loop().create_future()
        self._waiting.append((source, waiting))
        self._hand_out()
        try:
            return await waiting
        except asyncio.CancelledError:
            if waiting.done() and not waiting.cancelled() and waiting.exception() is None:
                waiting.result().kill()
            raise

    def _hand_out(self) -> None:
        """Give ready children to those who wait for one, and ask for as many as are missing."""
        while self._waiting and self._ready:
            _, waiting = self._waiting.popleft()
            if not waiting.done():
                pid = next(iter(self._ready))
                child = self._busy[pid] = self._ready.pop(pid)
                waiting.set_result(child)
        if self._nursery is not None:
            for _ in range(len(self._waiting) + self._spares - len(self._ready) - self._asked):
                self._asked += 1
                self._nursery.send("fork")

    # The keeper

    def _watch(self, process: KeeperProcess) -> None:
        self._keeper = process
        self._control = Packets(process.control, self._from_keeper, self._keeper_died)

    def _from_keeper(self, words: list[str], _descriptor: int | None) -> None:
        match words:
            case ["ready"]:
                self._loading = None
                self._ask_for_nursery()
            case ["loading", *source]:
                self._loading = " ".join(source)
            case ["unfit", *rest]:
                self._loading = None
                self._leave_out(*json.loads(" ".join(rest)))
            case ["ended", code]:
                self._nursery_ended(f"exit code {code}" if int(code) >= 0 else f"signal {-int(code)}")

    def _leave_out(self, source: str, reason: str) -> None:
        """Spawn the children of a module, and load the others without it."""
        log.warning("the job processes of a module are spawned, not forked", module=source, reason=f"it {reason}")
        self._sources.remove(source)
        for other, waiting in self._waiting:
            if other == source and not waiting.done():
                waiting.set_exception(UnfitModuleError(source))

    def _keeper_died(self) -> None:
        """It has left a module out and is started again without it; or it was killed."""
        keeper, self._keeper, self._control = self._keeper, None, None
        if self._closing or keeper is None:
            return
        keeper.end()  # it has ended: this reaps it
        if self._loading is not None:
            self._leave_out(self._loading, "ended the process that imported it")
            self._loading = None
        if self._nursery is None:
            self._start_again()
        else:
            log.error("the process that keeps the job modules loaded has died")

    def _start_again(self) -> None:
        """Load the modules from their files, since no process is left that has them."""
        self._resolve_lost()
        if self._sources:
            self._watch(start_keeper(self._sources))

    # The nursery

    def _ask_for_nursery(self) -> None:
        if self._closing or self._control is None:
            return
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs:
            self._control.send_descriptor("nursery", theirs.fileno())
        self._nursery = Packets(ours, self._from_nursery, self._nursery_gone)
        self._nursery_since_s = time.monotonic()
        self._asked = 0
        self._hand_out()

    def _from_nursery(self, words: list[str], descriptor: int | None) -> None:
        match words:
            case ["forked", pid]:
                self._forked(int(pid), descriptor)
            case ["refused", *reason]:
                self._refused(" ".join(reason))
            case ["ended", pid, code]:
                self._child_ended(int(pid), int(code))

    def _forked(self, pid: int, descriptor: int | None) -> None:
        if self._nursery is not None and descriptor is not None:
            self._asked -= 1
            self._ready[pid] = ForkedChild(pid, channel_of(descriptor), self._nursery)
            self._hand_out()

    def _refused(self, reason: str) -> None:
        self._asked -= 1
        while self._waiting:
            _, waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_exception(OSError(f"no process could be started: {reason}"))
                return

    def _child_ended(self, pid: int, code: int) -> None:
        spare = self._ready.pop(pid, None)
        if spare is not None:
            spare.channel.close()
            self._hand_out()
        busy = self._busy.pop(pid, None)
        if busy is not None:
            busy.ended(code)

    def _nursery_gone(self) -> None:
        """Its socket is closed. The keeper says when nothing of it is left."""
        self._drop_nursery()
        if self._control is None and not self._closing:
            for child in self._lost:
                with suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
            log.error("the process that job processes are forked from has died, and the one that could fork it again")
            self._start_again()

    def _nursery_ended(self, how: str) -> None:
        """The keeper has killed everything that was below the nursery."""
        if self._nursery is not None:
            self._nursery.receive()  # what it reported last, and then that it is gone
        log.error("the process that job processes are forked from has died", how=how, attempts=len(self._lost))
        self._resolve_lost()
        asyncio.get_running_loop().call_later(self._backoff_s, self._ask_for_nursery)
        lived_s = time.monotonic() - self._nursery_since_s
        self._backoff_s = FIRST_BACKOFF_S if lived_s > LONGEST_BACKOFF_S else self._longer_backoff_s()

    def _drop_nursery(self) -> None:
        self._nursery = None
        for child in self._ready.values():
            child.channel.close()
        self._lost += self._busy.values()
        self._ready.clear()
        self._busy.clear()

    def _resolve_lost(self) -> None:
        for child in self._lost:
            child.ended(None)
        self._lost.clear()

    def _longer_backoff_s(self) -> float:
        return min(2 * self._backoff_s, LONGEST_BACKOFF_S)
