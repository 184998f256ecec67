"""Job types for the client's tests; the server loads this module, and the tests submit its functions."""

import asyncio
from pathlib import Path
from typing import Annotated

from headway import BlockingContext, Context, Depends, JobFailed, Upload, job, remote_job
from pydantic import BaseModel, Field, computed_field


class Resize(BaseModel):
    width: int
    new_name: str = Field(default="picture", alias="newName")

    @computed_field  # type: ignore[prop-decorator]
    @property
    def height(self) -> int:
        return self.width // 2


class Resized(BaseModel):
    name: str
    size: tuple[int, int]


class Document(BaseModel):
    document: Upload
    copies: int = 1


class Gate(BaseModel):
    gate: Path


class Number(BaseModel):
    number: int


@job("resize")
async def resize(ctx: Context, input: Resize) -> Resized:
    return Resized(name=input.new_name, size=(input.width, input.height))


@job("resize-process")
def resize_process(ctx: BlockingContext, input: Resize) -> Resized:
    return Resized(name=input.new_name, size=(input.width, input.height))


@job("hello")
async def hello(ctx: Context) -> str:
    return "hello"


def unit() -> int:
    return 2


@job("doubled")
async def doubled(ctx: Context, input: Number, factor: Annotated[int, Depends(unit)]) -> int:
    return input.number * factor


@job("count-bytes")
async def count_bytes(ctx: Context, input: Document) -> list[str | int]:
    document = input.document
    return [document.filename, document.content_type, document.size_bytes * input.copies]


@job("two-lines")
async def two_lines(ctx: Context, input: Gate) -> str:
    """Logs a line, waits for its gate, and logs another."""
    ctx.progress(percent=10)
    ctx.log("first")
    while not input.gate.exists():  # noqa: ASYNC110 - a file is what both processes see
        await asyncio.sleep(0.01)
    ctx.log("second")
    return "done"


@job("unlucky")
async def unlucky(ctx: Context, input: Number) -> None:
    raise JobFailed("No luck", detail=f"{input.number} did not win", status=409, type="no-luck")


@job("never-here", unavailable=lambda: "the moon is not full")
async def never_here(ctx: Context) -> None: ...


@job("letters-file")
async def letters_file(ctx: Context, input: Number) -> str:
    """Writes a file of that many letters, and returns as many."""
    letters = "".join(chr(97 + n % 26) for n in range(input.number))
    (ctx.output_dir / "letters.txt").write_text(letters, "utf-8")
    return letters


@remote_job("transcode")
def transcode(input: Number) -> list[str]:
    raise NotImplementedError


class Moment(Number):
    lasts_s: float = 0.05


@job("square", max_recoveries=1_000)
async def square(ctx: Context, input: Moment) -> int:
    """Takes a moment, so that kills find it queued, running and done."""
    await asyncio.sleep(input.lasts_s)
    return input.number**2
