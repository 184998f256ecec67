"""A nursery as the server sees it: asked for when the keeper is ready, and again when it has died."""

import asyncio
import time

import structlog

from ....domain.attempts import Usage
from ..starting import Exit
from .children import Children, ForkedChild
from .keeper import Keeper, UnfitModuleError
from .packets import Packets, channel_of
from .stopped import Watched

FIRST_BACKOFF_S = 0.1
LONGEST_BACKOFF_S = 5.0

log = structlog.get_logger(__name__)


class Nursery:
    """A process that children are forked from; its name is for the keeper."""

    def __init__(self, name: str, spares: int, keeper: Keeper) -> None:
        """`spares`: how many children wait ready."""
        self.name = name
        self._keeper = keeper
        self._children = Children(spares)
        self._packets: Packets | None = None
        self._watched: Watched | None = None
        self._since_s = 0.0
        self._backoff_s = FIRST_BACKOFF_S
        self._orphaned = False
        """Whether its keeper has died: then it is not told when it has ended."""
        self._closing = False
        self._log = log
        keeper.add(self)

    @property
    def has_process(self) -> bool:
        return self._packets is not None

    async def start(self, source: str) -> ForkedChild:
        """A child that waits for its attempt. Raises `UnfitModuleError`, and `OSError` if there is no room for it."""
        waiting = self._children.wait(source)
        self._attend()
        try:
            return await waiting
        except asyncio.CancelledError:
            if waiting.done() and not waiting.cancelled() and waiting.exception() is None:
                waiting.result().kill()
            raise

    async def close(self) -> None:
        """Attempts have ended before; the process ends with the keeper."""
        self._closing = True
        if self._packets is not None:
            self._packets.close()

    def forget(self) -> None:
        """The keeper has ended all processes, unless it had to be killed itself."""
        self._unwatch(kill=True)
        self._children.lose()
        self._children.resolve_lost()

    def check(self) -> None:
        """Kill the process if it no longer works. To be called regularly, also while it is being closed."""
        if self._watched is not None:
            self._watched.check(owes_answer=self._children.asked > 0)

    # From the keeper

    def forked(self, pid: int) -> None:
        self._unwatch()
        self._watched = Watched(pid, self.name)

    def begin(self) -> None:
        """Ask for the process, unless there is one."""
        if self._open():
            self._attend()

    def ended(self, how: str) -> None:
        if self._packets is not None:
            self._packets.receive()  # what it reported last, and then that it is gone
        self._unwatch()
        if self._closing:
            return
        attempts = self._children.lost
        self._log.error("the process that job processes are forked from has died", how=how, attempts=attempts)
        self._children.resolve_lost()
        self._rest()

    def orphaned(self) -> None:
        self._orphaned = True
        if self._packets is None:
            self._bury()

    def left_out(self, source: str) -> None:
        self._children.fail(UnfitModuleError(source), source)

    # Its life

    def _open(self) -> bool:
        """Ask the keeper for the process. Whether it has been asked."""
        if self._packets is not None or self._closing:
            return False
        try:
            control = self._keeper.fork(self.name)
        except OSError:  # the keeper is stopped, or has just died
            self._rest()
            return False
        if control is None:
            return False
        self._packets = Packets(control, self._received, self._gone)
        self._since_s = time.monotonic()
        self._orphaned = False
        return True

    def _attend(self) -> None:
        """Hand out children, and have as many forked as are missing."""
        if self._packets is not None:
            for _ in range(self._children.hand_out()):
                self._packets.send("fork")

    def _received(self, words: list[str], descriptor: int | None) -> None:
        if self._watched is not None:
            self._watched.responded()
        match words:
            case ["forked", pid] if descriptor is not None and self._packets is not None:
                child = ForkedChild(int(pid), channel_of(descriptor), self._packets, self._keeper.cgroups)
                self._children.forked(child)
            case ["refused", *reason]:
                self._children.refused(OSError(f"no process could be started: {' '.join(reason)}"))
                return
            case ["ended", pid, how]:
                code, peak_memory_bytes, cpu_s, *left = how.split()
                usage = Usage(int(peak_memory_bytes), float(cpu_s))
                self._children.ended(int(pid), Exit(int(code), usage, tuple(map(int, left))))
        self._attend()

    def _gone(self) -> None:
        """Its socket is closed. The keeper says when nothing of it is left."""
        self._packets = None
        self._unwatch()
        self._children.lose()
        if self._orphaned and not self._closing:
            self._bury()
            self._keeper.nothing_left_of(self)

    def _bury(self) -> None:
        """Kill what an orphaned nursery has left."""
        self._children.kill_lost()
        self._children.resolve_lost()

    def _rest(self) -> None:
        """Begin again after a back-off."""
        asyncio.get_running_loop().call_later(self._backoff_s, self._rested)
        lived_s = time.monotonic() - self._since_s
        self._backoff_s = FIRST_BACKOFF_S if lived_s > LONGEST_BACKOFF_S else self._longer_backoff_s()

    def _rested(self) -> None:
        self.begin()

    def _unwatch(self, *, kill: bool = False) -> None:
        if self._watched is not None:
            if kill:
                self._watched.kill()
            self._watched.close()
            self._watched = None

    def _longer_backoff_s(self) -> float:
        return min(2 * self._backoff_s, LONGEST_BACKOFF_S)
