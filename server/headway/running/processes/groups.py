"""The end of a process group: it is killed, and waited for. For the server, which is the parent of its leader only."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ..limits import DIE_WITHIN_S

_PROC = Path("/proc")


async def end_group(group: int) -> tuple[int, ...]:
    """Kill a process group whose leader has been reaped, and wait until nothing of it is left.

    Returns the processes that are still there after `DIE_WITHIN_S` because the kernel holds them up. Where there is no
    /proc, they are killed and not waited for.
    """
    try:
        os.killpg(group, signal.SIGKILL)  # none of them can fork any more
    except (ProcessLookupError, PermissionError):
        return ()
    members = await asyncio.to_thread(lambda: list(_members(group)))
    waiting = {asyncio.ensure_future(_gone(pid)): pid for pid in members}
    if not waiting:
        return ()
    _, pending = await asyncio.wait(waiting, timeout=DIE_WITHIN_S)
    for task in pending:
        task.cancel()
    return tuple(sorted(waiting[task] for task in pending))


def _members(group: int) -> Iterator[int]:
    """The processes of a group, zombies included. Source: proc_pid_stat(5)."""
    if not _PROC.exists():
        return
    for entry in _PROC.iterdir():
        with suppress(OSError, IndexError):
            if entry.name.isdigit() and int((entry / "stat").read_bytes().rpartition(b")")[2].split()[2]) == group:
                yield int(entry.name)


async def _gone(pid: int) -> None:
    """Wait until a process has ended, even if its parent has not reaped it."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
