"""Attempts in processes that share what was made before they were forked, of the types in `sharing_jobs`."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from headway.running.calling import Returned
from headway.running.processes.forked.preloading import Preload
from headway.running.processes.processes import Processes

from tests.support.children import Bench, Listener
from tests.support.process import ROOT, alive, eventually

JOBS = ROOT / "tests" / "job_types" / "sharing_jobs.py"


class Sharing(Bench):
    """Starts attempts in children, some of which share what is made before they are forked."""

    def __init__(self, folder: Path, module: Path, processes: Processes) -> None:
        super().__init__(folder, module, processes)
        self.processes: Processes = processes

    @property
    def diary(self) -> list[str]:
        """What factories and handlers have noted."""
        with suppress(FileNotFoundError):
            return (self.folder / "diary").read_text("utf-8").splitlines()
        return []

    def go(self) -> None:
        """Let those go on that wait for it, or fail until then."""
        (self.folder / "go").touch()

    async def value(self, job_type: str, job_id: str = "j") -> Any:
        """What a handler returns."""
        end = await self.run(job_type, job_id=job_id, lock_path=str(self.folder / job_id))
        assert isinstance(end, Returned), end
        return json.loads(end.result_json)

    async def held(self, job_type: str, job_id: str = "j") -> tuple[asyncio.Task[Any], int]:
        """An attempt that runs, and the process id that it logs."""
        listener = self.listener = Listener()
        running = self.conversation(job_type, job_id=job_id, lock_path=str(self.folder / job_id))
        task = asyncio.create_task(running.run())
        return task, await listener.pid()

    async def slow_pid(self) -> int:
        """The process in which `slow()` is being loaded."""
        return int((await until(lambda: self.diary))[0].removeprefix("slow "))


Opening = Callable[..., Awaitable[Sharing]]


@asynccontextmanager
async def opening(folder: Path) -> AsyncIterator[Opening]:
    """Opens processes, with a nursery of its own for the type that is given."""
    module = folder / "sharing_jobs.py"
    module.write_bytes(JOBS.read_bytes())
    running: list[Processes] = []

    async def open_for(job_type: str, factory: str = "model()", *, forked: bool = True) -> Sharing:
        preload = Preload(job_type, str(module), (factory,), spares=1)
        processes = Processes([str(module)], 1, None, [preload]) if forked else Processes()
        running.append(processes)
        await processes.open()
        return Sharing(folder, module, processes)

    try:
        yield open_for
    finally:
        for processes in running:
            await processes.close()


async def until(condition: Callable[[], object]) -> Any:
    return await asyncio.to_thread(eventually, condition)


async def gone(*pids: int) -> None:
    await until(lambda: not any(alive(pid) for pid in pids))


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def events(logged: list[Any]) -> list[str]:
    return [entry["event"] for entry in logged]
