"""Job types for the browser tests; the server loads them with `--jobs`."""

import asyncio

from headway import Context, JobFailed, job
from pydantic import BaseModel, Field


class Steady(BaseModel):
    """How many steps, how fast, and which message to report."""

    steps: int = Field(10, ge=1, le=100_000, title="Steps")
    pause_s: float = Field(0.02, ge=0, le=10, title="Pause")
    message: str = Field("working", title="Message")
    log_lines: int = Field(0, ge=0, title="Log lines")


@job("steady", title="Go on steadily", max_attempts=3)
async def steady(ctx: Context, input: Steady) -> dict[str, int]:
    """Counts to a number, with a pause after each."""
    for number in range(input.log_lines):
        ctx.log(f"line {number + 1} of {input.log_lines}")
    for done in range(input.steps):
        ctx.progress(done=done, total=input.steps, unit="steps", message=input.message)
        await asyncio.sleep(input.pause_s)
    return {"steps": input.steps}


@job("doomed", title="Fail", max_attempts=1)
async def doomed(ctx: Context, input: Steady) -> None:
    """Stays at half of its progress."""
    ctx.progress(done=1, total=2)
    await asyncio.sleep(input.pause_s)
    raise JobFailed("No pictures", detail="<img src=x onerror=alert(1)>", status=422)


class Inner(BaseModel):
    """A nested part of the input."""

    width: int = Field(gt=0, title="Width")


class Form(BaseModel):
    """One field of each kind."""

    city: str = Field(min_length=2, title="City", examples=["Lisbon"])
    day: str | None = None
    colour: str = Field("red", pattern="^(red|green|odd)$", title="Colour")
    size: Inner
    tags: list[int] = Field(default_factory=list, title="Tags")


@job("form", title="Fill in a form")
async def form(ctx: Context, input: Form) -> Form:
    """Returns its input."""
    ctx.progress(message=input.city)
    return input


class Bulk(BaseModel):
    """The size of the result."""

    items: int = Field(20_000, ge=1, title="Items")


@job("bulk", title="Give back a lot")
async def bulk(ctx: Context, input: Bulk) -> list[int]:
    """Returns a result that is too large to be part of the job."""
    ctx.progress(message="counting")
    return list(range(input.items))


@job("elsewhere", title="Put the result elsewhere")
async def elsewhere(ctx: Context) -> None:
    """Has its result on another server, and returns nothing."""
    ctx.result_url = "http://headway.invalid/map"


@job("stumbles", title="Stumble once", max_attempts=2)
async def stumbles(ctx: Context) -> int:
    """Fails in the first attempt."""
    ctx.progress(done=2, total=4)
    if ctx.attempt == 1:
        raise RuntimeError("once")
    return ctx.attempt


@job("moonlit", title="Wait for the moon", unavailable=lambda: "The moon is not full.")
async def moonlit(ctx: Context) -> None:
    """Is not available on any server."""


@job("lingers", title="Stop slowly")
async def lingers(ctx: Context) -> None:
    """Takes a while to stop when it is cancelled."""
    ctx.progress(percent=10, message="lingering")
    try:
        await asyncio.sleep(600)
    finally:
        await asyncio.sleep(2.5)


@job("mutters", title="Talk and do nothing")
async def mutters(ctx: Context) -> None:
    """Writes log lines, and reports no progress."""
    for number in range(10_000):
        ctx.log(f"line {number + 1}")
        await asyncio.sleep(0.2)


@job("careful", title="Go on where it stopped")
async def careful(ctx: Context, input: Steady) -> int:
    """Saves a checkpoint after each step, and resumes from the last one."""
    for done in range(ctx.resumed or 0, input.steps):
        await ctx.checkpoint(done)
        ctx.progress(done=done, total=input.steps, unit="steps")
        await asyncio.sleep(input.pause_s)
    return ctx.attempt


class Files(BaseModel):
    """How many files to write."""

    count: int = Field(1, title="Count")


@job("writes", title="Write files")
async def writes(ctx: Context, input: Files) -> None:
    """Writes small text files."""
    for number in range(input.count):
        (ctx.output_dir / f"part-{number:04}.txt").write_text("x")
