"""The leash: a shell that kills a child's process group when the server is gone, from outside the child.

The child itself ends when its socket closes. But its handler may hold the interpreter in C code, or may have started
processes of its own.
"""

import asyncio
from contextlib import suppress

LEASH = 'read -r _ || kill -KILL "-$1"'  # without `--`, which dash's kill takes for a process


async def attach(group: int) -> asyncio.subprocess.Process:
    """Start the leash of a process group. It waits for the server's end of its stdin to close."""
    return await asyncio.create_subprocess_exec(
        "/bin/sh", "-c", LEASH, "headway-leash", str(group),
        stdin=asyncio.subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip


async def release(leash: asyncio.subprocess.Process) -> None:
    """End the leash without killing the group."""
    with suppress(ProcessLookupError):
        leash.kill()  # a handler may have stopped it, and then it would not read on
    if leash.stdin is not None:
        leash.stdin.close()
    await leash.wait()
