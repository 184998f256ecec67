"""The processes that an `async def` handler starts with `ctx.subprocess`: they end with its attempt."""

import asyncio
import os
import signal
from asyncio.subprocess import Process
from contextlib import suppress
from typing import Any

from .processes import leash


class Subprocesses:
    """The processes of one attempt. Each leads a group of its own."""

    def __init__(self) -> None:
        self._watching: set[asyncio.Task[None]] = set()
        self._running: set[Process] = set()
        self._ended = False

    async def start(self, program: str, *arguments: str, **options: Any) -> Process:
        """Start a program. Raises `OSError`, and `RuntimeError` if the attempt has ended: its handler was abandoned."""
        self._check_not_ended()
        # A session, and so a group, of its own: uvloop does not know `process_group`.
        process = await asyncio.create_subprocess_exec(program, *arguments, start_new_session=True, **options)
        if self._ended:
            _kill_group(process)
        self._running.add(process)
        task = asyncio.create_task(self._watch(process), name=f"subprocess:{process.pid}")
        self._watching.add(task)
        task.add_done_callback(self._watching.discard)
        self._check_not_ended()
        return process

    async def end(self) -> None:
        """Kill what still runs, and wait for its end. Nothing can be started any more."""
        self._ended = True
        for process in self._running:
            _kill_group(process)
        if self._watching:
            await asyncio.wait(self._watching)

    def _check_not_ended(self) -> None:
        if self._ended:
            raise RuntimeError("the attempt has ended, no program can be started")

    async def _watch(self, process: Process) -> None:
        """Kill what the process has left in its group when it ends; a shell does so if this server is killed."""
        held = await leash.attach(process.pid)
        try:
            await process.wait()
        finally:
            self._running.discard(process)
            _kill_group(process)
            await leash.release(held)


def _kill_group(process: Process) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
