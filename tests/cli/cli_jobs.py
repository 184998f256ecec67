"""Job types for the tests of the commands for jobs."""

import asyncio
from pathlib import Path

from headway import Context, JobFailed, Upload, job
from pydantic import BaseModel, Field


class Size(BaseModel):
    width: int
    height: int | None = None


class Fields(BaseModel):
    text: str = ""
    number: float = 0
    whole: int = 0
    flag: bool = False
    tags: list[str] = []
    counts: list[int] = []
    size: Size | None = None
    extra: dict[str, int] = Field(default_factory=dict)


class Gate(BaseModel):
    gate: Path


class Document(BaseModel):
    document: Upload
    copies: int = 1


class Steps(BaseModel):
    steps: int = 20
    gate: Path | None = None


@job("echo")
async def echo(ctx: Context, input: Fields) -> Fields:
    return input


@job("two-lines")
async def two_lines(ctx: Context, input: Gate) -> str:
    """Logs a line, waits for its gate, and logs another."""
    ctx.log("first")
    while not input.gate.exists():  # noqa: ASYNC110 - a file is what both processes see
        await asyncio.sleep(0.01)
    ctx.log("second")
    return "done"


@job("fails")
async def fails(ctx: Context) -> None:
    raise JobFailed("No luck", detail="There is none today.")


@job("count-bytes")
async def count_bytes(ctx: Context, input: Document) -> list[str | int]:
    document = input.document
    (ctx.output_dir / "copy.txt").write_bytes(document.path.read_bytes())
    return [document.filename, document.size_bytes * input.copies]


@job("steps")
async def steps(ctx: Context, input: Steps) -> int:
    """Reports each step, and waits for the gate before the last."""
    for step in range(input.steps):
        ctx.progress(step, total=input.steps, unit="steps", message=f"step {step}")
        ctx.log(f"line {step}")
        await asyncio.sleep(0.05)
    while input.gate is not None and not input.gate.exists():  # noqa: ASYNC110 - see above
        await asyncio.sleep(0.01)
    return input.steps
