"""The nursery of one job type, whose dependencies are made in it before children are forked: they share them."""

import asyncio
import json
import os
import time
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass
from enum import Enum
from typing import Self

import structlog

from ....authoring.job_types import JobType
from ....domain.jobs import JobError
from ...calling import Raised, Stopped
from ...limits import CLEAN_UP_WITHIN_S
from ..channel import MAX_BYTES, decode
from ..messages import CleanUpFailed, Message
from ..starting import LoadFailedError
from .children import ForkedChild
from .keeper import Keeper
from .nurseries import Nursery

log = structlog.get_logger(__name__)


class NotSharedError(Exception):
    """The type's children share nothing: each makes its dependencies itself."""


@dataclass(frozen=True, slots=True)
class Preload:
    """What is loaded before the children of a job type are forked."""

    job_type: str
    source: str
    """The module that declares it."""
    factories: tuple[str, ...]
    """What it is made by, for people: `model()`."""
    spares: int
    """How many children wait ready."""

    @classmethod
    def of(cls, job_type: JobType, spares: int) -> Self | None:
        """`None` if the type needs nothing of the kind. `spares` is how many children of other types wait ready."""
        factories = tuple(factory.name for factory in job_type.before_fork)
        limit = spares if job_type.concurrency is None else min(spares, job_type.concurrency)
        return cls(job_type.name, job_type.source, factories, limit) if factories else None


class Phase(Enum):
    """Where the nursery is in its life."""

    ABSENT = "absent"  # there is no process
    LOADING = "loading"
    READY = "ready"  # children can be forked
    ENDING = "ending"  # it is to end, and no attempt depends on it


class PreloadingNursery(Nursery):
    """Begins to load when the server starts, again when it has died, and otherwise when an attempt needs it."""

    def __init__(self, preload: Preload, keeper: Keeper, loaded: Callable[[], None]) -> None:
        """`loaded` is called when attempts no longer have to wait for a load."""
        super().__init__(preload.job_type, preload.spares, keeper)
        self._log = log.bind(type=preload.job_type, factories=", ".join(preload.factories))
        self._source = preload.source
        self._factories = " and ".join(preload.factories)
        self._phase = Phase.ABSENT
        self._wanted = True
        """Whether to load though no attempt waits for it."""
        self._fit = True
        self._resting = False
        self._over = asyncio.Event()
        self._loaded = loaded

    @property
    def is_loading(self) -> bool:
        """Whether an attempt would have to wait for a load."""
        return self._shares and self._phase is not Phase.READY

    async def start(self, source: str) -> ForkedChild:
        """A child that waits for its attempt. Raises `LoadFailedError`, `NotSharedError`, and as the general one does.

        When the last that waits for a load is gone, it is given up.
        """
        if not self._shares:
            raise NotSharedError
        try:
            return await super().start(source)
        finally:
            if self._phase is Phase.LOADING and not self._children.awaited:
                self._log.info("loading before forking is given up: no job waits for it any more")
                self._wanted = False
                self._kill()

    async def close(self) -> None:
        """Let it clean up, within a time limit. What still loads is killed with the keeper."""
        self._closing = True
        if self._packets is None:
            return
        if self._phase is not Phase.LOADING:
            self._packets.finish()
            try:
                async with asyncio.timeout(CLEAN_UP_WITHIN_S):
                    await self._over.wait()
            except TimeoutError:
                self._log.warning("cleaning up what was loaded before forking took too long, and it was killed")
        if self._packets is not None:
            self._packets.close()
            if self._keeper.gone and self._phase is Phase.READY:  # otherwise it dies with the keeper
                self._unwatch(kill=True)

    # From the keeper

    def begin(self) -> None:
        if self._fit and self._phase is Phase.ABSENT and self._open():
            self._phase = Phase.LOADING
            self._over.clear()
            self._log.info("loading before forking")

    def ended(self, how: str) -> None:
        if self._packets is not None:
            self._packets.receive()
        self._unwatch()
        phase, self._phase = self._phase, Phase.ABSENT
        self._over.set()
        match phase:
            case _ if self._closing:
                pass
            case Phase.READY:
                super().ended(how)
            case Phase.LOADING:
                self._log.error("the process that was loading before forking has died", how=how)
                self._wanted = False
                self._children.fail(LoadFailedError(_died(f"The process that loads {self._factories} ended {how}.")))
                self._rest()
            case _:
                self._attend()

    def left_out(self, source: str) -> None:
        super().left_out(source)
        if source == self._source:
            self._fit = False
            self._loaded()

    def orphaned(self) -> None:
        super().orphaned()
        if not self.has_process:
            self._do_without()

    # Its life

    @property
    def _shares(self) -> bool:
        """Whether it is forked from: it may be, and there is a process or a keeper that forks one."""
        return self._fit and (self.has_process or not self._keeper.gone)

    def _attend(self) -> None:
        if self._phase is Phase.READY:
            super()._attend()
        elif not self._resting and (self._wanted or self._children.awaited):
            Context().run(self.begin)  # it belongs to no single job, and what it logs should not name one

    def _received(self, words: list[str], descriptor: int | None) -> None:
        match words:
            case ["ready", pid] if self._phase is Phase.LOADING:  # and not given up
                self._ready(int(pid))
            case ["unfit", *rest]:
                self._unfit(*json.loads(" ".join(rest)))
            case ["message"] if descriptor is not None:
                self._told(_message_in(descriptor))
            case _:
                super()._received(words, descriptor)

    def _ready(self, pid: int) -> None:
        self._phase = Phase.READY
        self._wanted = True
        self._log.info("loaded before forking", seconds=self._lived_s(), pid=pid)
        self._attend()
        self._loaded()

    def _told(self, message: Message) -> None:
        match message:
            case Raised() | Stopped() if self._phase is Phase.LOADING:
                self._failed(message)
            case CleanUpFailed(factory, _, traceback):
                log.error("cleaning up a dependency failed", type=self.name, factory=factory, traceback=traceback)

    def _failed(self, end: Raised | Stopped) -> None:
        """A factory has raised: so fails each attempt that waits, and the next one that comes tries again."""
        traceback = end.traceback if isinstance(end, Raised) and not self._children.awaited else None
        fields = {} if traceback is None else {"traceback": traceback}  # otherwise it is logged with the attempt
        self._log.error("loading before forking failed", reason=_reason(end), seconds=self._lived_s(), **fields)
        self._wanted = False
        self._children.fail(LoadFailedError(end))
        self._end_soon()

    def _unfit(self, factory: str, reason: str) -> None:
        """Do without it from now on."""
        self._log.warning(
            "what was to be loaded before forking is loaded in each process", factory=factory, reason=f"it {reason}"
        )
        self._fit = False
        self._children.fail(NotSharedError())
        self._end_soon()
        self._loaded()

    def _end_soon(self) -> None:
        """It cleans up and ends by itself, or is killed."""
        self._phase = Phase.ENDING
        asyncio.get_running_loop().call_later(CLEAN_UP_WITHIN_S, self._kill_late, self._since_s)

    def _kill_late(self, since_s: float) -> None:
        if self._phase is Phase.ENDING and self._since_s == since_s:
            self._log.warning("cleaning up what was loaded before forking took too long, and it was killed")
            self._keeper.kill(self.name)

    def _kill(self) -> None:
        self._phase = Phase.ENDING
        self._keeper.kill(self.name)

    def _gone(self) -> None:
        super()._gone()
        self._over.set()
        if self._orphaned and not self._closing:
            self._do_without()

    def _do_without(self) -> None:
        """No keeper can fork it: until there is one again, each child makes its dependencies itself."""
        self._phase = Phase.ABSENT
        if self._keeper.gone:
            self._children.fail(NotSharedError())
            self._loaded()
        else:
            self._attend()

    def _rest(self) -> None:
        self._resting = True
        super()._rest()

    def _rested(self) -> None:
        self._resting = False
        self._attend()

    def _lived_s(self) -> float:
        return round(time.monotonic() - self._since_s, 3)


def _message_in(descriptor: int) -> Message:
    """The message in a file that came with a packet: a traceback is too long for one."""
    with os.fdopen(descriptor, "rb") as file:
        file.seek(0)
        return decode(file.read(MAX_BYTES[Raised]))


def _reason(end: Raised | Stopped) -> str:
    return (end.error.detail or end.error.title) if isinstance(end, Raised) else "it was cancelled"


def _died(detail: str) -> Raised:
    return Raised(JobError("process-died", "What the job depends on could not be loaded", detail, 500))
