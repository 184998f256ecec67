"""The keeper as the server talks to it: it has the modules loaded, forks nurseries, and says when one has ended."""

import asyncio
import json
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import structlog

from .keeping import KeeperProcess, start_keeper
from .packets import Packets
from .stopped import Watched

log = structlog.get_logger(__name__)


class UnfitModuleError(Exception):
    """Processes with this module loaded cannot be forked."""


class KeepersNursery(Protocol):
    """What the keeper says of a nursery, to the one who asks for it."""

    name: str

    @property
    def has_process(self) -> bool:
        """Whether it has been asked for, and its process is not known to have ended."""
        ...

    def begin(self) -> None:
        """The keeper is ready to fork it."""

    def forked(self, pid: int) -> None:
        """The keeper has forked it."""

    def ended(self, how: str) -> None:
        """Nothing is left of it. `how` follows "it ended": by a signal, with an exit code."""

    def orphaned(self) -> None:
        """The keeper has died, so nobody says any more when this one has ended."""

    def left_out(self, source: str) -> None:
        """The children of a module are spawned."""


class Keeper:
    """Keeps one process that has the modules loaded, while there is anything to fork from it."""

    def __init__(
        self, sources: Iterable[str], prepared: KeeperProcess | None = None, cgroups: Path | None = None
    ) -> None:
        """`sources`: the modules to load, by name or path. `prepared`: a keeper forked from this process.

        `cgroups`: where children have cgroups, if they have.
        """
        self.cgroups = cgroups
        self.sources = list(sources)
        self._process = prepared
        self._control: Packets | None = None
        self._watched: Watched | None = None
        self._asked: set[str] = set()
        """The nurseries that it was asked to fork and has not yet."""
        self._ready = False
        self.loaded = asyncio.Event()
        """Set when the modules have been loaded for the first time, all or those that can be forked."""
        self._loading: str | None = None
        """The module that it is loading."""
        self._suspected: set[str] = set()
        """Modules that it was loading when it died: if that happens twice, it is because of the module."""
        self._nurseries: dict[str, KeepersNursery] = {}
        """By name; without the first, the general one, nothing can be forked."""
        self._reaping: set[asyncio.Task[None]] = set()
        """Of those that have died."""
        self._closing = False

    @property
    def gone(self) -> bool:
        """Whether it has died while nurseries live on. It is started again after the general one has died."""
        return self._process is None

    def add(self, nursery: KeepersNursery) -> None:
        """Have a nursery. The first to be added is the general one."""
        self._nurseries[nursery.name] = nursery

    def open(self) -> None:
        """Begin to load. Raises `OSError`."""
        self._watch(self._process or start_keeper(self.sources))

    async def close(self) -> None:
        """End it, with everything below it."""
        self._closing = True
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            self._reap(self._process)
        if self._reaping:
            await asyncio.wait(self._reaping)
        if self._watched is not None:
            self._watched.close()

    def check(self) -> None:
        """Kill it if it no longer works. To be called regularly, also while it is being closed."""
        if self._watched is not None:
            self._watched.check(owes_answer=bool(self._asked))

    def fork(self, name: str) -> socket.socket | None:
        """Fork a nursery: the server's end of its control socket; `None` before it can be. Raises `OSError`."""
        if self._closing or self._control is None or not self._ready:
            return None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs:
            try:
                self._control.send_descriptor(f"nursery {name} {self.cgroups or ''}", theirs.fileno())
            except OSError:
                ours.close()
                raise
        self._asked.add(name)
        return ours

    def kill(self, name: str) -> None:
        """Kill a nursery and everything below it."""
        if self._control is not None:
            self._control.send(f"kill {name}")

    def nothing_left_of(self, nursery: KeepersNursery) -> None:
        """An orphaned nursery has ended. If it was the general one, begin anew."""
        if self.gone and not self._closing and nursery is self._general:
            log.error("the process that job processes are forked from has died, and the one that could fork it again")
            self._start_again()

    @property
    def _general(self) -> KeepersNursery:
        return next(iter(self._nurseries.values()))

    def _watch(self, process: KeeperProcess) -> None:
        self._process = process
        self._control = Packets(process.control, self._received, self._died)
        self._watched = Watched(process.pid, "keeper")
        self._asked.clear()

    def _received(self, words: list[str], _descriptor: int | None) -> None:
        match words:
            case ["ready"]:
                self._loading = None
                self._ready = True
                self.loaded.set()
                for nursery in self._nurseries.values():
                    nursery.begin()
            case ["loading", *source]:
                self._loading = " ".join(source)
            case ["unfit", *rest]:
                self._loading = None
                self._leave_out(*json.loads(" ".join(rest)))
            case ["forked", name, pid]:
                self._asked.discard(name)
                self._nurseries[name].forked(int(pid))
            case ["ended", name, how]:
                self._asked.discard(name)
                self._nurseries[name].ended(how)

    def _leave_out(self, source: str, reason: str) -> None:
        """Spawn the children of a module, and load the others without it."""
        log.warning("the job processes of a module are spawned, not forked", module=source, reason=f"it {reason}")
        self.sources.remove(source)
        for nursery in self._nurseries.values():
            nursery.left_out(source)

    def _died(self) -> None:
        """It has left a module out and is started again without it; or it was killed."""
        process, self._process, self._control, self._ready = self._process, None, None, False
        if self._closing or process is None:
            return
        self._reap(process)
        if self._watched is not None:
            self._watched.close()
            self._watched = None
        if self._loading is not None:
            if self._loading in self._suspected:
                self._leave_out(self._loading, "ended the process that imported it")
            self._suspected.add(self._loading)
            self._loading = None
        if self._general.has_process:
            log.error("the process that keeps the job modules loaded has died")
        else:
            self._start_again()
        for nursery in self._nurseries.values():
            nursery.orphaned()

    def _reap(self, process: KeeperProcess) -> None:
        """In a thread: a tracer can hold up even one that has ended."""
        task = asyncio.create_task(asyncio.to_thread(process.end))
        self._reaping.add(task)
        task.add_done_callback(self._reaping.discard)

    def _start_again(self) -> None:
        """Load the modules from their files, since no process is left that has them."""
        if self.sources:
            self._watch(start_keeper(self.sources))
        else:
            self.loaded.set()
