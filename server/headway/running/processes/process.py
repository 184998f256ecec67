"""A child process as the server sees it: started, signalled, killed with its whole group, reaped."""

import asyncio
import json
import os
import signal
import sys
from contextlib import suppress
from typing import Self

from .leash import attach, release

BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from headway.running.processes.child import main; main(int(sys.argv[2]))"
)
EXIT_WAIT_S = 2.0


class ChildProcess:
    """One child and its group. Once started, call `close`: nothing of the group is left then."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._leash: asyncio.subprocess.Process | None = None

    @classmethod
    async def start(cls, descriptor: int) -> Self:
        """Start a child that talks over the socket `descriptor`, which it inherits."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            BOOT,
            json.dumps(sys.path),
            str(descriptor),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=2,  # what a handler prints belongs in the log, not on the server's stdout
            pass_fds=(descriptor,),
        )
        child = cls(process)
        try:
            child._leash = await attach(process.pid)
        except BaseException:
            await child.close()
            raise
        return child

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; `None` while it runs."""
        return self._process.returncode

    def terminate(self) -> None:
        """Send SIGTERM to the child alone."""
        if self.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the child and everything in its group."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            if self.returncode is None:  # it has not made its group yet
                with suppress(ProcessLookupError):
                    self._process.kill()

    async def wait(self) -> None:
        """Wait for a child that has closed its channel or sent its end, then kill what is left of its group."""
        with suppress(TimeoutError):
            async with asyncio.timeout(EXIT_WAIT_S):
                await self._process.wait()
        self.kill()
        await self._process.wait()

    async def close(self) -> None:
        """Kill the child if it still runs, and reap it."""
        if self.returncode is None:
            self.kill()
        if self._leash is not None:
            await release(self._leash)
        await self._process.wait()
