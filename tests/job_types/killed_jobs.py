"""Job types for servers that are killed again and again: each attempt checks what the server has promised to its job.

They write into the folder `KILLS_FOLDER`: a diary for each job, locked by its attempt, and a line in `broken` for each
promise that was not kept.
"""

import asyncio
import fcntl
import hashlib
import os
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

from headway import BlockingContext, Context, Depends, JobFailed, Upload, job
from pydantic import BaseModel

End = Literal["return", "refuse", "raise", "flaky", "die"]


class Work(BaseModel):
    """What a job does, and how it ends."""

    steps: int = 3
    step_s: float = 0.01
    result_bytes: int = 100
    files: int = 0
    file_bytes: int = 1000
    daemon: bool = False
    end: End = "return"


class WorkOnFile(Work):
    """The same on an upload, whose content is named by its SHA-256."""

    file: Upload
    sha256: str


def filling(job_id: str, part: str, size_bytes: int) -> str:
    """Text that no other job or part has."""
    return hashlib.shake_256(f"{job_id} {part}".encode()).hexdigest((size_bytes + 1) // 2)[:size_bytes]


def result_of(job_id: str, work: Work) -> dict[str, str]:
    return {"jobId": job_id, "text": filling(job_id, "result", work.result_bytes)}


class Diary:
    """The diary of one job, while one attempt holds it."""

    def __init__(self, descriptor: int, ctx: BlockingContext | Context) -> None:
        self._descriptor = descriptor
        self._ctx = ctx

    def begin(self) -> int:
        """Check this attempt against the earlier ones. Returns the step to go on from."""
        lines = [line.split() for line in os.pread(self._descriptor, 1_000_000, 0).decode().splitlines()]
        begun = [int(words[1]) for words in lines if words[0] == "begins"]
        checkpoints = [int(words[-1]) for words in lines if words[0] in ("begins", "checkpoint")]
        attempt, resumed, noted = self._ctx.attempt, self._ctx.resumed or 0, max(checkpoints, default=0)
        if max(begun, default=0) >= attempt:
            self.broken(f"attempt {attempt} begins after {begun}")
        if not noted <= resumed <= noted + 1:
            self.broken(f"attempt {attempt} resumes at {resumed}, after a checkpoint at {noted}")
        self.note(f"begins {attempt} from {resumed}")
        return int(resumed)

    def note(self, entry: str) -> None:
        os.write(self._descriptor, f"{entry}\n".encode())

    def broken(self, what: str) -> None:
        broken(f"{self._ctx.job_id}: {what}")


def broken(what: str) -> None:
    with (Path(os.environ["KILLS_FOLDER"]) / "broken").open("a") as file:
        file.write(f"{what}\n")


@contextmanager
def diary(ctx: BlockingContext | Context) -> Iterator[Diary]:
    """Hold the job's diary. Its lock falls with the process, however that ends."""
    path = Path(os.environ["KILLS_FOLDER"]) / "diaries" / ctx.job_id
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC)
    try:
        kept = Diary(descriptor, ctx)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            kept.broken(f"attempt {ctx.attempt} runs beside another")
        yield kept
    finally:
        os.close(descriptor)


def finish(ctx: BlockingContext | Context, work: Work, kept: Diary) -> dict[str, str]:
    """Write the files, then end as the job shall."""
    for number in range(work.files):
        (ctx.output_dir / f"out-{number}.txt").write_text(filling(ctx.job_id, str(number), work.file_bytes))
    kept.note(f"ends {ctx.attempt}")
    if work.end == "refuse":
        raise JobFailed("Refused", detail="as it was told to")
    if work.end == "raise" or (work.end == "flaky" and ctx.attempt == 1):
        raise RuntimeError(f"attempt {ctx.attempt} was told to raise")
    if work.end == "die":
        os._exit(9)
    return result_of(ctx.job_id, work)


def run(ctx: BlockingContext, work: Work) -> dict[str, str]:
    with diary(ctx) as kept:
        if work.daemon:
            subprocess.Popen(["sleep", "600"], start_new_session=True)
        for step in ctx.track(range(kept.begin(), work.steps), total=work.steps):
            time.sleep(work.step_s)
            ctx.log(f"step {step}")
            ctx.checkpoint(step + 1)
            kept.note(f"checkpoint {step + 1}")
        return finish(ctx, work, kept)


async def run_async(ctx: Context, work: Work) -> dict[str, str]:
    with diary(ctx) as kept:
        async for step in ctx.track(range(kept.begin(), work.steps), total=work.steps):
            await asyncio.sleep(work.step_s)
            ctx.log(f"step {step}")
            await ctx.checkpoint(step + 1)
            kept.note(f"checkpoint {step + 1}")
        return finish(ctx, work, kept)


def check_upload(ctx: BlockingContext | Context, work: WorkOnFile) -> None:
    if hashlib.sha256(work.file.path.read_bytes()).hexdigest() != work.sha256:
        broken(f"{ctx.job_id}: its upload is not what was sent")


def connection() -> Iterator[Callable[[], float]]:
    yield time.monotonic


async def session() -> AsyncIterator[str]:
    yield "open"


def model() -> list[int]:
    return [n * n for n in range(10_000)]


@job("waits", max_attempts=2)
async def waits(ctx: Context, work: Work, session: Annotated[str, Depends(session)]) -> dict[str, str]:
    return await run_async(ctx, work)


@job("waits-once", max_recoveries=0)
async def waits_once(ctx: Context, work: Work) -> dict[str, str]:
    return await run_async(ctx, work)


@job("computes", max_attempts=2)
def computes(ctx: BlockingContext, work: Work) -> dict[str, str]:
    return run(ctx, work)


@job("computes-once", on_interrupt="fail")
def computes_once(ctx: BlockingContext, work: Work) -> dict[str, str]:
    return run(ctx, work)


@job("kept", max_attempts=2, keep_process=True, max_jobs_per_process=20)
def kept(ctx: BlockingContext, work: Work, now: Annotated[Callable[[], float], Depends(connection)]) -> dict[str, str]:
    return run(ctx, work)


@job("loaded", max_attempts=2)
def loaded(
    ctx: BlockingContext, work: Work, squares: Annotated[list[int], Depends(model, before_fork=True)]
) -> dict[str, str]:
    return run(ctx, work)


@job("reads", max_attempts=2)
def reads(ctx: BlockingContext, work: WorkOnFile) -> dict[str, str]:
    check_upload(ctx, work)
    return run(ctx, work)


@job("reads-async", max_attempts=2)
async def reads_async(ctx: Context, work: WorkOnFile) -> dict[str, str]:
    check_upload(ctx, work)
    return await run_async(ctx, work)
