"""Children that are new interpreters: for modules that cannot be forked, and where forking is not to be had."""

import asyncio
import json
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

from ..cgroups.cgroup import Cgroup, cgroup_of
from ..limits import DIE_WITHIN_S
from .groups import end_group
from .leash import attach, release
from .starting import Exit

BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from headway.running.processes.child.main import main; main(int(sys.argv[2]), cgroups=sys.argv[3])"
)


class Spawning:
    """Starts a new interpreter for each attempt. It reads the job's module again."""

    def __init__(self, cgroups: Path | None = None) -> None:
        """`cgroups`: where children have cgroups, if they have."""
        self._cgroups = cgroups

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
                str(self._cgroups or ""),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=2,  # what a handler prints belongs in the log, not on the server's stdout
                pass_fds=(theirs.fileno(),),
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        cgroup = None if self._cgroups is None else cgroup_of(process.pid, self._cgroups)
        child = SpawnedChild(process, ours, cgroup)
        try:
            child.leash = await attach(process.pid)
        except BaseException:
            ours.close()
            await child.close()
            raise
        return child


class SpawnedChild:
    """A new interpreter and its group (`starting.Child`)."""

    def __init__(
        self, process: asyncio.subprocess.Process, channel: socket.socket, cgroup: Cgroup | None = None
    ) -> None:
        self.pid = process.pid
        self.channel = channel
        self.leash: asyncio.subprocess.Process | None = None
        self._process = process
        self.cgroup = cgroup
        self.exiting: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self._waiting = asyncio.create_task(self._wait())
        self._giving_up: asyncio.TimerHandle | None = None

    def terminate(self) -> None:
        """Send SIGTERM to the child alone."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the child and everything in its groups."""
        if self.cgroup is not None:
            self.cgroup.kill()
        with suppress(ProcessLookupError, PermissionError):  # it has not made its group yet, or has left it
            os.killpg(self._process.pid, signal.SIGKILL)
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.kill()
        if self._giving_up is None and not self.exiting.done():
            held_up = Exit(-signal.SIGKILL, left=(self.pid,))
            # Once the child has ended, what it has left in its group may take as long again.
            self._giving_up = self.exiting.get_loop().call_later(2 * DIE_WITHIN_S, self._end, held_up)

    async def _wait(self) -> None:
        """What is left of its groups is killed when it has ended."""
        code = await self._process.wait()
        left = await end_group(self.pid)
        if self.cgroup is not None:
            left += await asyncio.to_thread(self.cgroup.end)
        self._end(Exit(code, left=left))

    def _end(self, exit: Exit) -> None:
        if self._giving_up is not None:
            self._giving_up.cancel()
        if not self.exiting.done():
            self.exiting.set_result(exit)

    async def close(self) -> None:
        """Kill the child if it still runs, and reap it."""
        if self._process.returncode is None:
            self.kill()
        if self.leash is not None:
            await release(self.leash)
        await asyncio.wait({self.exiting})
