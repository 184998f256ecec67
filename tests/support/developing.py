"""A server of `headway dev` with files that a test edits."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.browser.tab import PageServer
from tests.support.process import eventually

HEAD = """
import asyncio, time
from pathlib import Path
from pydantic import BaseModel
from headway import BlockingContext, Context, job

class Gate(BaseModel):
    gate: str = ""
"""
IN_LOOP = """
@job("in-loop")
async def in_loop(ctx: Context, input: Gate) -> str:
    if input.gate:
        Path(input.gate + ".begun").touch()
        while not Path(input.gate).exists():
            await asyncio.sleep(0.01)
    return WORD
"""
IN_PROCESS = """
@job("in-process")
def in_process(ctx: BlockingContext, input: Gate) -> str:
    if input.gate:
        Path(input.gate + ".begun").touch()
        while not Path(input.gate).exists():
            time.sleep(0.01)
    return WORD
"""


def jobs(word: str, *handlers: str) -> str:
    """A module of jobs that return `word`: by default one in the loop and one in a process."""
    return f"{HEAD}WORD = {word!r}\n" + "".join(handlers or (IN_LOOP, IN_PROCESS))


FIRST = jobs("first")


class Developing(PageServer):
    """Serves the module `jobs.py` of a directory, which imports whatever stands beside it."""

    def __init__(self, directory: Path, *arguments: str, jobs: Path | None = None) -> None:
        """`jobs` stands for another module than `jobs.py`."""
        self.file = directory / "jobs.py"
        if jobs is None:
            self.file.write_text(FIRST)
        given = ("--jobs", str(jobs or self.file), "--no-samples", *arguments)
        super().__init__(":memory:", *given, env={"PYTHONDONTWRITEBYTECODE": ""})  # as it is for most people
        self._command.insert(2, "dev")

    @property
    def reload(self) -> Any:
        """The version of the types, and why the files cannot be loaded."""
        return self.request("GET", "/job-types/reload").json

    def write(self, text: str, name: str = "jobs.py") -> Any:
        """Write a file, and wait until it has been loaded, or found to be broken."""
        return self.after(lambda: self.file.with_name(name).write_text(text))

    def after(self, change: Callable[[], object]) -> Any:
        """Change files, and wait for what comes of it."""
        before = self.reload["version"]
        change()
        return eventually(lambda: (now := self.reload)["version"] > before and now, "nothing was reloaded")

    def result(self, job_type: str) -> Any:
        """What a new job of a type returns."""
        job = self.wait_for(self.submit(job_type))
        assert job["status"] == "completed", job
        return job["result"]

    def hold(self, job_type: str, gate: Path) -> str:
        """Have a job that runs until `gate` exists, and wait until its handler has begun. Returns its id."""
        job_id = self.submit(job_type, {"gate": str(gate)})
        eventually(gate.with_name(f"{gate.name}.begun").exists, lambda: f"it did not begin: {self.job(job_id)}")
        return job_id

    def names(self) -> list[str]:
        """The types that it serves."""
        return [each["name"] for each in self.request("GET", "/job-types").json["jobTypes"]]
