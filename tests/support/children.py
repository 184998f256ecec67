"""Attempts in child processes, for tests of how they end: started without an engine, with somebody who listens."""

import asyncio
from collections.abc import Awaitable, Collection
from pathlib import Path
from typing import Any, TypeVar

from headway.domain.attempts import Usage
from headway.domain.jobs import NewLogLine
from headway.ports.files import Directories
from headway.running.processes.conversation import Conversation
from headway.running.processes.messages import CheckpointOutcome, Start
from headway.running.processes.partner import Partners

from tests.support.process import WAIT_TIMEOUT_S

Ended = TypeVar("Ended")


class Listener:
    """What a child reported."""

    def __init__(self) -> None:
        self.begun = 0
        self.values: list[tuple[Any, ...]] = []
        self.lines: list[str] = []
        self.usage: Usage | None = None
        self.pids_left: set[int] = set()
        self.heard = asyncio.Event()

    def began(self) -> None:
        self.begun += 1

    def progress(self, values: tuple[Any, ...]) -> None:
        self.values.append(values)

    def log(self, line: NewLogLine) -> None:
        self.lines.append(line.message)
        self.heard.set()

    def dropped(self, lines: int) -> None: ...

    def used(self, usage: Usage) -> None:
        self.usage = usage

    def left(self, pids: Collection[int]) -> None:
        self.pids_left.update(pids)

    async def pid(self) -> int:
        """The child's, from the log line that it writes first."""
        async with asyncio.timeout(WAIT_TIMEOUT_S):
            await self.heard.wait()
        return int(self.lines[0].removeprefix("pid "))


async def ended(running: Awaitable[Ended]) -> Ended:
    """How the attempt ended; fails the test if it does not."""
    async with asyncio.timeout(WAIT_TIMEOUT_S):
        return await running


class Bench:
    """Starts attempts in children, each with a listener of its own."""

    def __init__(self, folder: Path, module: Path, processes: Partners) -> None:
        self.folder = folder
        self.module = module
        self.processes = processes
        self.listener = Listener()
        self.checkpoints: list[str] = []
        self.answer = CheckpointOutcome.STORED

    def conversation(
        self, job_type: str, input_json: str = "{}", listener: Listener | None = None, **fields: Any
    ) -> Conversation:
        common: dict[str, Any] = {
            "source": str(self.module),
            "type": job_type,
            "job_id": "j",
            "attempt": 1,
            "owner": "local",
            "input_json": input_json,
            "checkpoint_json": None,
            "directories": Directories(str(self.folder / "w"), str(self.folder / "o"), str(self.folder / "d")),
            "lock_path": str(self.folder / "lock"),
            "uploads": {},
        }
        return Conversation(Start(**common | fields), listener or self.listener, self._store, self.processes)

    async def run(self, job_type: str, input_json: str = "{}", **fields: Any) -> Any:
        return await ended(self.conversation(job_type, input_json, **fields).run())

    async def _store(self, checkpoint_json: str) -> CheckpointOutcome:
        self.checkpoints.append(checkpoint_json)
        return self.answer
