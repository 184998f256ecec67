"""The leash: kills a child's process group when the server is gone, from outside the child."""

import asyncio
from contextlib import suppress

LEASH = 'read -r _ || kill -KILL "-$1"'  # without `--`, which dash's kill takes for a process


async def attach(group: int) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        "/bin/sh", "-c", LEASH, "headway-leash", str(group),
        stdin=asyncio.subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip


async def release(leash: asyncio.subprocess.Process) -> None:
    """Let the leash go without pulling it."""
    if leash.stdin is not None:
        with suppress(ConnectionError):
            leash.stdin.write(b"\n")
            leash.stdin.close()
    await leash.wait()
