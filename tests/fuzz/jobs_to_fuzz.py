"""Job types for the fuzzer: quick and cheap, and together with every shape of an operation."""

import contextlib
import time

from headway import BlockingContext, Context, JobCancelled, JobFailed, Upload, job
from pydantic import BaseModel, Field


class Letter(BaseModel):
    """What to write."""

    model_config = {"json_schema_extra": {"examples": [{"text": "Dear reader", "copies": 2}]}}

    text: str = Field(max_length=200)
    copies: int = Field(default=1, ge=1, le=3)


class Tree(BaseModel):
    """As deep as one likes."""

    name: str
    weight: float | None = None
    count: int = 0
    children: list["Tree"] = []


class Papers(BaseModel):
    """Files, one of which may be missing."""

    letter: Upload
    enclosure: Upload | None = None
    pages: int = 1


@job("write-letter", path="/fuzz/letters")
async def write_letter(ctx: Context, input: Letter) -> dict[str, int]:
    """Leaves a file."""
    ctx.output_dir.mkdir(parents=True, exist_ok=True)
    (ctx.output_dir / "letter.txt").write_text(input.text, "utf-8", "surrogatepass")
    ctx.log("written")
    return {"copies": input.copies}


@job("grow-tree")
async def grow_tree(ctx: Context, input: Tree) -> Tree:
    return input


@job("fail-always")
async def fail_always(ctx: Context, input: Letter) -> None:
    raise JobFailed("No luck", detail=input.text)


@job("count-papers")
async def count_papers(ctx: Context, input: Papers) -> int:
    return input.letter.size_bytes * input.pages


@job("do-nothing", path="/fuzz/nothings", on_complete="redirect")
def do_nothing(ctx: BlockingContext) -> None:
    """In a process of its own; what it leaves is a file."""
    (ctx.output_dir / "letter.txt").write_text("nothing", "utf-8")


@job("stop-slowly")
def stop_slowly(ctx: BlockingContext) -> None:
    """Takes its time when it is cancelled."""
    ctx.progress(message="stopping is for others")
    with contextlib.suppress(JobCancelled):
        time.sleep(3)
    time.sleep(3)
