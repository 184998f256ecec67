"""The server's side of the conversation with a child: its reports are passed on, its checkpoints stored and answered.

A child never outlives the server: it ends when its socket closes, and what it was started by kills it if it cannot.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import structlog

from ...domain.jobs import JobError, NewLogLine
from ..calling import End, Lost, Raised, Returned, Stopped
from ..limits import CLEAN_UP_WITHIN_S
from .channel import AsyncChannel, GarbledMessageError
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
)
from .starting import Child, Exit, StartsChildren

log = structlog.get_logger(__name__)


class Listening(Protocol):
    """Receives what a child reports."""

    def began(self) -> None: ...

    def progress(self, values: tuple[Any, ...]) -> None: ...

    def log(self, line: NewLogLine) -> None: ...


StoreCheckpoint = Callable[[str], Awaitable[CheckpointOutcome]]
"""Stores JSON text durably."""

EXIT_WAIT_S = 2.0
"""How long a child may take to end once it has closed its channel; and its channel to close once it has ended."""
STARTS = 3
"""How many children an attempt is given to: one that waits ready may be killed before it begins, by the system say."""


class Conversation:
    """One attempt in a process of its own."""

    def __init__(
        self, start: Start, listening: Listening, store_checkpoint: StoreCheckpoint, processes: StartsChildren
    ) -> None:
        self._start = start
        self._listening = listening
        self._store_checkpoint = store_checkpoint
        self._processes = processes
        self._starting: asyncio.Task[Child] | None = None
        self._child: Child | None = None
        self._channel: AsyncChannel | None = None
        self._begun = False
        self._cancelled = False
        self._killed = False

    async def run(self) -> End | Lost:
        """Run the attempt to its end, whatever that is. No process of it is left afterwards."""
        for left in reversed(range(STARTS)):
            child = self._child = await self._start_child()
            if child is None:
                return Stopped()
            try:
                end = await self._talk(child)
            finally:
                await child.close()
            if not isinstance(end, Exit):
                return end
            if self._begun or self._killed or not left:
                return Lost() if end.code is None else _died(end.code)
            log.warning("a child process died before it began, another one is started", code=end.code)
        raise AssertionError("unreachable")

    def cancel(self) -> None:
        """Ask the handler to stop: sets `ctx.cancelled`."""
        self._cancelled = True
        if self._channel is not None:
            self._channel.send(Cancel())

    def terminate(self) -> None:
        """Interrupt the handler: `JobCancelled` is raised in its main thread."""
        if self._child is not None:
            self._child.terminate()

    def kill(self) -> None:
        """End the child and everything that it started."""
        self._killed = True
        if self._starting is not None:
            self._starting.cancel()
        if self._child is not None:
            self._child.kill()

    async def _start_child(self) -> Child | None:
        """A child; `None` if the attempt was to be killed before there was one."""
        self._starting = asyncio.create_task(self._processes.start(self._start.source, self._start.type))
        try:
            return await self._starting
        except asyncio.CancelledError:
            if self._killed and not _is_cancelled():
                return None
            self._starting.cancel()
            raise
        finally:
            self._starting = None

    async def _talk(self, child: Child) -> End | Exit:
        """The end that the child sent, or how it died without one."""
        channel = self._channel = await _channel_on(child.channel)
        try:
            channel.send(self._start)
            if self._cancelled:  # before there was a channel
                channel.send(Cancel())
            if self._killed:
                child.kill()
            return await self._until_ended(child, channel)
        except GarbledMessageError as error:
            log.warning("a child broke the channel and was killed", reason=str(error))
            child.kill()
            return _process_died("It wrote to the server's socket.")
        finally:
            channel.close()

    async def _until_ended(self, child: Child, channel: AsyncChannel) -> End | Exit:
        """Relay until the process has ended: something that it started may hold its channel open."""
        relaying = asyncio.create_task(self._relay(channel))
        exiting = asyncio.create_task(child.wait())
        try:
            await asyncio.wait({relaying, exiting}, return_when=asyncio.FIRST_COMPLETED)
            if relaying.done():
                relaying.result()
            await asyncio.wait({relaying, exiting}, timeout=EXIT_WAIT_S)
            if not exiting.done():
                child.kill()
            exit = await exiting
            end = relaying.result() if relaying.done() else None
            return exit if end is None else end
        finally:
            for task in (relaying, exiting):
                task.cancel()
            await asyncio.wait({relaying, exiting})

    async def _relay(self, channel: AsyncChannel) -> End | None:
        """Pass on the child's messages until it sends how the attempt ended. `None` if it died before that."""
        while (message := await channel.receive()) is not None:
            match message:
                case Began():
                    self._begun = True
                    self._listening.began()
                case Report(progress, lines):
                    self._report(progress, lines)
                case Checkpoint(checkpoint_json):
                    channel.send(CheckpointAnswer(await self._store_checkpoint(checkpoint_json)))
                case HandlerEnded(end):
                    return await self._clean_up(channel, end)
                case CleanUpFailed(factory, _, traceback):
                    log.warning("cleaning up a dependency failed", factory=factory, traceback=traceback)
                case Returned() | Raised() | Stopped():
                    return message
                case _:
                    raise GarbledMessageError("a message that only the server sends")
        return None

    async def _clean_up(self, channel: AsyncChannel, end: End) -> End:
        """Relay until the child has cleaned up. The handler's end stands, whatever happens to its process now."""
        try:
            async with asyncio.timeout(CLEAN_UP_WITHIN_S):
                if await self._relay(channel) is None:
                    log.warning("the process died while it cleaned up the handler's dependencies")
        except TimeoutError:
            log.warning("cleaning up the handler's dependencies took too long, and its process was killed")
            self.kill()
        return end

    def _report(self, progress: tuple[Any, ...] | None, lines: tuple[NewLogLine, ...]) -> None:
        if progress is not None:
            self._listening.progress(progress)
        for line in lines:
            self._listening.log(line)


def _is_cancelled() -> bool:
    """Whether the present task is, not something that it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _channel_on(ours: socket.socket) -> AsyncChannel:
    try:
        reader, writer = await asyncio.open_connection(sock=ours)
    except BaseException:
        ours.close()
        raise
    return AsyncChannel(reader, writer)


def _died(code: int) -> Raised:
    how = f"with exit code {code}" if code >= 0 else f"by signal {-code}"
    return _process_died(f"It ended {how}.")


def _process_died(detail: str) -> Raised:
    return Raised(JobError("process-died", "The job's process ended unexpectedly", detail, 500))
