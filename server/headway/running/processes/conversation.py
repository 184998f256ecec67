"""The server's side of the conversation with a child: its reports are passed on, its checkpoints stored and answered.

A child never outlives the server: it ends when its socket closes, and what it was started by kills it if it cannot.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Protocol

import structlog

from ...domain.attempts import Usage
from ...domain.jobs import JobError, NewLogLine
from ..bounds.watching import Watch
from ..calling import End, Lost, Raised, Returned, Stopped
from ..limits import CLEAN_UP_WITHIN_S
from .beginning import StartWatch
from .channel import SOCKET_LOST, GarbledMessageError
from .messages import (
    Began,
    Cancel,
    Checkpoint,
    CheckpointAnswer,
    CheckpointOutcome,
    CleanUpFailed,
    HandlerEnded,
    Report,
    Start,
    Stays,
    Used,
)
from .partner import Partner, Partners
from .starting import Exit, LoadFailedError

log = structlog.get_logger(__name__)


class Listening(Protocol):
    """Receives what a child reports."""

    def began(self) -> None: ...

    def progress(self, values: tuple[Any, ...]) -> None: ...

    def log(self, line: NewLogLine) -> None: ...

    def dropped(self, lines: int) -> None: ...

    def used(self, usage: Usage) -> None: ...

    def left(self, pids: Collection[int]) -> None: ...


StoreCheckpoint = Callable[[str], Awaitable[CheckpointOutcome]]
"""Stores JSON text durably."""

EXIT_WAIT_S = 2.0
"""How long a child may take to end once it has closed its channel; and its channel to close once it has ended."""
STARTS = 3
"""How many children an attempt is given to: one that waits ready may be killed before it begins, by the system say."""


class Conversation:
    """One attempt in a process of its own."""

    def __init__(
        self,
        start: Start,
        listening: Listening,
        store_checkpoint: StoreCheckpoint,
        processes: Partners,
        watch: Watch | None = None,
    ) -> None:
        """`watch`: what watches the child, if the attempt has limits."""
        self._start = start
        self._listening = listening
        self._store_checkpoint = store_checkpoint
        self._processes = processes
        self._watch = watch
        self._starting: asyncio.Task[Any] | None = None
        """The task that waits for a child."""
        self._gave_up = False
        """Whether it has been cancelled, to wait no longer."""
        self._partner: Partner | None = None
        self._beginning: StartWatch | None = None
        self._begun = False
        self._cancelled = False
        self._killed = False

    async def run(self) -> End | Lost:
        """Run the attempt to its end, whatever that is. Nothing that it started is left afterwards.

        Except for what the kernel holds up although it has been killed: that is reported.
        """
        left = STARTS
        while True:
            try:
                partner = self._partner = await self._start_child()
            except LoadFailedError as error:
                return error.end
            if partner is None:
                return Stopped()
            try:
                end = await (self._talk(partner) if self._watch is None else self._watched(partner, self._watch))
            finally:
                await self._processes.part(partner, self._start.type, keep=not (self._cancelled or self._killed))
            if not isinstance(end, Exit):
                return end
            was_stopped = self._beginning is not None and self._beginning.was_stopped
            left -= not was_stopped  # there may be any number of those
            if self._begun or self._killed or not left:
                return Lost() if end.code is None else _died(end.code)
            log.warning("a child process died before it began, another one is started", code=end.code)

    def cancel(self) -> None:
        """Ask the handler to stop: sets `ctx.cancelled`."""
        self._cancelled = True
        self._give_up()  # a load may take long, and then there is no handler yet that could be asked
        if self._partner is not None:
            self._partner.channel.send(Cancel())

    def terminate(self) -> None:
        """Interrupt the handler: `JobCancelled` is raised in its main thread."""
        if self._partner is not None:
            self._partner.child.terminate()

    def kill(self) -> None:
        """End the child and everything that it started."""
        self._killed = True
        self._give_up()
        if self._partner is not None:
            self._partner.child.kill()

    def _give_up(self) -> None:
        if self._starting is not None and not self._gave_up:
            self._gave_up = True
            self._starting.cancel()

    async def _start_child(self) -> Partner | None:
        """A child; `None` if the attempt was to stop before there was one. Raises `LoadFailedError`."""
        task = self._starting = asyncio.current_task()
        try:
            return await self._processes.start(self._start.source, self._start.type)
        except asyncio.CancelledError:
            if self._gave_up and task is not None and not task.uncancel():
                return None
            raise
        finally:
            self._starting = None

    async def _watched(self, partner: Partner, watch: Watch) -> End | Exit:
        async with watch.over(partner.child.pid, self.kill, partner.child.cgroup):
            return await self._talk(partner)

    async def _talk(self, partner: Partner) -> End | Exit:
        """The end that the child sent, or how it died without one."""
        self._beginning = StartWatch(partner.child)
        try:
            partner.channel.send(self._start)
            if self._cancelled:  # while there was nobody to tell
                partner.channel.send(Cancel())
            if self._killed:
                partner.child.kill()
            return await self._until_ended(partner)
        except GarbledMessageError as error:
            log.warning("a child broke the channel and was killed", reason=str(error))
            partner.child.kill()
            self._account_for(partner, await asyncio.shield(partner.exiting))
            return _process_died("It wrote to the server's socket.")
        finally:
            self._beginning.end()

    async def _until_ended(self, partner: Partner) -> End | Exit:
        """Relay until the process has ended, or stays: something that it started may hold its channel open."""
        with partner.heard_within(EXIT_WAIT_S):
            end = await self._relay(partner)
        if end is not None and partner.stays:
            return end
        await asyncio.wait({partner.exiting}, timeout=EXIT_WAIT_S)
        if not partner.exiting.done():
            partner.child.kill()
        exit = await asyncio.shield(partner.exiting)
        self._account_for(partner, exit)
        return exit if end is None else end

    async def _relay(self, partner: Partner) -> End | None:
        """Pass on the child's messages until it sends how the attempt ended. `None` if it died before that."""
        channel = partner.channel
        while (message := await channel.receive()) is not None:
            match message:
                case Began():
                    self._has_begun()
                    self._listening.began()
                case Report():
                    self._report(message)
                case Checkpoint(checkpoint_json):
                    channel.send(CheckpointAnswer(await self._store_checkpoint(checkpoint_json)))
                case HandlerEnded(end):
                    return await self._clean_up(partner, end)
                case CleanUpFailed(factory, _, traceback):
                    log.warning("cleaning up a dependency failed", factory=factory, traceback=traceback)
                case Used(usage):
                    partner.cpu_s += usage.cpu_s
                    self._listening.used(usage)
                case Stays():
                    partner.stays = True
                case Returned() | Raised() | Stopped():
                    return message
                case _:
                    raise GarbledMessageError("a message that only the server sends")
        return None

    async def _clean_up(self, partner: Partner, end: End) -> End:
        """Relay until the child has cleaned up. The handler's end stands, whatever happens to its process now."""
        try:
            async with asyncio.timeout(CLEAN_UP_WITHIN_S):
                if await self._relay(partner) is None:
                    log.warning("the process died while it cleaned up the handler's dependencies")
        except TimeoutError:
            log.warning("cleaning up the handler's dependencies took too long, and its process was killed")
            self.kill()
        return end

    def _account_for(self, partner: Partner, exit: Exit) -> None:
        """Report what the attempt has used, which is what its process has except for earlier attempts, and has left."""
        if exit.usage is not None:
            self._listening.used(exit.usage._replace(cpu_s=max(0.0, exit.usage.cpu_s - partner.cpu_s)))
        if exit.left:
            self._listening.left(exit.left)

    def _has_begun(self) -> None:
        self._begun = True
        if self._beginning is not None:
            self._beginning.end()

    def _report(self, report: Report) -> None:
        if report.progress is not None:
            self._listening.progress(report.progress)
        for line in report.lines:
            self._listening.log(line)
        self._listening.dropped(report.dropped)


def _died(code: int) -> Raised:
    if code == SOCKET_LOST:
        return _process_died("Its handler closed the server's socket, or read from it, so its end was not received.")
    how = f"with exit code {code}" if code >= 0 else f"by signal {-code}"
    return _process_died(f"It ended {how}.")


def _process_died(detail: str) -> Raised:
    return Raised(JobError("process-died", "The job's process ended unexpectedly", detail, 500))
