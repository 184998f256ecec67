"""Children that are new interpreters: for modules that cannot be forked, and where forking is not to be had."""

import asyncio
import json
import os
import signal
import socket
import sys
from contextlib import suppress

from .leash import attach, release
from .starting import Exit

BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from headway.running.processes.child.main import main; main(int(sys.argv[2]))"
)


class Spawning:
    """Starts a new interpreter for each attempt. It reads the job's module again."""

    async def start(self, source: str, job_type: str) -> "SpawnedChild":  # noqa: ARG002 - its attempt names them too
        """Start a child. Raises `OSError`."""
        ours, theirs = socket.socketpair()
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                BOOT,
                json.dumps(sys.path),
                str(theirs.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=2,  # what a handler prints belongs in the log, not on the server's stdout
                pass_fds=(theirs.fileno(),),
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        child = SpawnedChild(process, ours)
        try:
            child.leash = await attach(process.pid)
        except BaseException:
            ours.close()
            await child.close()
            raise
        return child


class SpawnedChild:
    """A new interpreter and its group (`starting.Child`)."""

    def __init__(self, process: asyncio.subprocess.Process, channel: socket.socket) -> None:
        self.pid = process.pid
        self.channel = channel
        self.leash: asyncio.subprocess.Process | None = None
        self._process = process
        self.exiting: asyncio.Future[Exit] = asyncio.ensure_future(self._wait())

    def terminate(self) -> None:
        """Send SIGTERM to the child alone."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the child and everything in its group."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            if self._process.returncode is None:  # it has not made its group yet
                with suppress(ProcessLookupError):
                    self._process.kill()

    async def _wait(self) -> Exit:
        """What is left of its group is killed when it has ended."""
        code = await self._process.wait()
        self.kill()
        return Exit(code)

    async def close(self) -> None:
        """Kill the child if it still runs, and reap it."""
        if self._process.returncode is None:
            self.kill()
        if self.leash is not None:
            await release(self.leash)
        await asyncio.wait({self.exiting})
