"""The processes that an `async def` handler starts with `ctx.subprocess`: they end with its attempt."""

import asyncio
import os
import signal
from asyncio.subprocess import Process
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any

from ..authoring.author_code import servers_own
from .limits import DIE_WITHIN_S
from .processes import leash
from .processes.groups import end_group


class Subprocesses:
    """The processes of one attempt. Each leads a group of its own."""

    def __init__(self, left: Callable[[Collection[int]], None] = lambda _: None) -> None:
        """`left` is called with processes that have been killed and are still there: the kernel holds them up."""
        self._left = left
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
        with servers_own():  # the handler may have none left
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
        if self._watching:  # what a process leaves in its group may take as long as the process itself
            await asyncio.wait(self._watching, timeout=2 * DIE_WITHIN_S)
        if self._running:
            self._left([process.pid for process in self._running])

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
            left = await end_group(process.pid)
            await leash.release(held)
        if left:
            self._left(left)


def _kill_group(process: Process) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
