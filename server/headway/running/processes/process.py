"""Process jobs, the server's side: start a child, relay what it says, stop it, kill its whole group.

A child never outlives the server. It ends when its socket closes, and because a handler may hold the
interpreter in C code, or may have children of its own, a *leash* does the same from outside: a shell that
waits for the server's end of a pipe to close and then kills the child's process group.
"""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from ...domain.jobs import NewLogLine
from .channel import LENGTH, Message, encode_frame
from .leash import attach, release

BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from headway.running.processes.child import main; main(int(sys.argv[2]))"
)
EXIT_WAIT_S = 2.0


class Listening(Protocol):
    """What a child's words are told to."""

    def began(self) -> None: ...

    def progress(self, values: tuple[Any, ...]) -> None: ...

    def log(self, line: NewLogLine) -> None: ...


@dataclass(slots=True)
class Child:
    """One attempt in a process of its own. `start` is what `child.main` receives first."""

    start: Message
    listening: Listening
    store_checkpoint: Callable[[str], Awaitable[str]]
    """Stores JSON text durably and returns the word to answer with."""
    _process: asyncio.subprocess.Process | None = field(default=None, init=False)
    _writer: asyncio.StreamWriter | None = field(default=None, init=False)

    async def run(self) -> Message:
        """Run the attempt; the child's final message, or `{"died": returncode}`. Always leaves no process."""
        ours, theirs = socket.socketpair()
        try:
            process = await self._spawn(theirs)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self._process = process
        leash: asyncio.subprocess.Process | None = None
        try:
            leash = await attach(process.pid)
            reader, self._writer = await asyncio.open_connection(sock=ours)
            self._send(self.start)
            final = await self._relay(reader)
            await self._gone(process)
            return final or {"died": process.returncode}
        finally:
            if process.returncode is None:
                self.kill()
            if self._writer is None:
                ours.close()
            else:
                self._writer.close()
            if leash is not None:
                await release(leash)
            await process.wait()

    def cancel(self) -> None:
        """Ask the handler to stop: sets `ctx.cancelled`."""
        self._send({"cancel": True})

    def terminate(self) -> None:
        """Interrupt the handler: `JobCancelled` is raised in its main thread."""
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the child and everything it started."""
        if self._process is None:
            return
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            if self._process.returncode is None:  # it has not come as far as to make its group
                with suppress(ProcessLookupError):
                    self._process.kill()

    async def _spawn(self, theirs: socket.socket) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            BOOT,
            json.dumps(sys.path),
            str(theirs.fileno()),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=2,  # what a handler prints is log, the server's stdout is not
            pass_fds=(theirs.fileno(),),
        )

    async def _relay(self, reader: asyncio.StreamReader) -> Message | None:
        """Pass on what the child says until its final message, or its end."""
        while True:
            try:
                head = await reader.readexactly(LENGTH.size)
                message: Message = json.loads(await reader.readexactly(LENGTH.unpack(head)[0]))
            except (asyncio.IncompleteReadError, ConnectionError):
                return None
            if "began" in message:
                self.listening.began()
            if "progress" in message:
                self.listening.progress(tuple(message["progress"]))
            for at, level, text in message.get("log", ()):
                self.listening.log(NewLogLine(datetime.fromisoformat(at), level, text))
            if "checkpoint" in message:
                self._send({"answer": await self.store_checkpoint(message["checkpoint"])})
            elif message.keys() & {"completed", "failed", "raised", "stopped"}:
                return message

    async def _gone(self, process: asyncio.subprocess.Process) -> None:
        """Wait for a child that has nothing more to say, then end what is left of its group."""
        with suppress(TimeoutError):
            async with asyncio.timeout(EXIT_WAIT_S):
                await process.wait()
        self.kill()
        await process.wait()

    def _send(self, message: Message) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(encode_frame(message))
