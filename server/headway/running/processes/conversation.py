"""The server's side of the conversation with a child: its reports are passed on, its checkpoints stored and answered.

A child never outlives the server: it ends when its socket closes, and if it cannot, its leash kills it.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import structlog

from ...domain.jobs import JobError, NewLogLine
from ..calling import End, Raised, Returned, Stopped
from .channel import AsyncChannel, GarbledMessageError
from .messages import Began, Cancel, Checkpoint, CheckpointAnswer, CheckpointOutcome, Report, Start
from .process import ChildProcess

log = structlog.get_logger(__name__)


class Listening(Protocol):
    """Receives what a child reports."""

    def began(self) -> None: ...

    def progress(self, values: tuple[Any, ...]) -> None: ...

    def log(self, line: NewLogLine) -> None: ...


StoreCheckpoint = Callable[[str], Awaitable[CheckpointOutcome]]
"""Stores JSON text durably."""


class Conversation:
    """One attempt in a process of its own."""

    def __init__(self, start: Start, listening: Listening, store_checkpoint: StoreCheckpoint) -> None:
        self._start = start
        self._listening = listening
        self._store_checkpoint = store_checkpoint
        self._process: ChildProcess | None = None
        self._channel: AsyncChannel | None = None
        self._cancelled = False
        self._killed = False

    async def run(self) -> End:
        """Run the attempt to its end, whatever that is. No process of it is left afterwards."""
        ours, theirs = socket.socketpair()
        try:
            self._process = await ChildProcess.start(theirs.fileno())
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        try:
            return await self._talk(self._process, ours)
        finally:
            await self._process.close()

    def cancel(self) -> None:
        """Ask the handler to stop: sets `ctx.cancelled`."""
        self._cancelled = True
        if self._channel is not None:
            self._channel.send(Cancel())

    def terminate(self) -> None:
        """Interrupt the handler: `JobCancelled` is raised in its main thread."""
        if self._process is not None:
            self._process.terminate()

    def kill(self) -> None:
        """End the child and everything that it started."""
        self._killed = True
        if self._process is not None:
            self._process.kill()

    async def _talk(self, process: ChildProcess, ours: socket.socket) -> End:
        channel = self._channel = await _channel_on(ours)
        try:
            channel.send(self._start)
            if self._cancelled:  # before there was a channel
                channel.send(Cancel())
            if self._killed:
                process.kill()
            end = await self._relay(channel)
            await process.wait()
            return end or _died(process.returncode)
        except GarbledMessageError as error:
            log.warning("a child broke the channel and was killed", reason=str(error))
            process.kill()
            return _process_died("It wrote to the server's socket.")
        finally:
            channel.close()

    async def _relay(self, channel: AsyncChannel) -> End | None:
        """Pass on the child's messages until it sends how the attempt ended. `None` if it died before that."""
        while (message := await channel.receive()) is not None:
            match message:
                case Began():
                    self._listening.began()
                case Report(progress, lines):
                    self._report(progress, lines)
                case Checkpoint(checkpoint_json):
                    channel.send(CheckpointAnswer(await self._store_checkpoint(checkpoint_json)))
                case Returned() | Raised() | Stopped():
                    return message
                case _:
                    raise GarbledMessageError("a message that only the server sends")
        return None

    def _report(self, progress: tuple[Any, ...] | None, lines: tuple[NewLogLine, ...]) -> None:
        if progress is not None:
            self._listening.progress(progress)
        for line in lines:
            self._listening.log(line)


async def _channel_on(ours: socket.socket) -> AsyncChannel:
    try:
        reader, writer = await asyncio.open_connection(sock=ours)
    except BaseException:
        ours.close()
        raise
    return AsyncChannel(reader, writer)


def _died(returncode: int | None) -> Raised:
    how = f"with exit code {returncode}" if returncode is None or returncode >= 0 else f"by signal {-returncode}"
    return _process_died(f"It ended {how}.")


def _process_died(detail: str) -> Raised:
    return Raised(JobError("process-died", "The job's process ended unexpectedly", detail, 500))
