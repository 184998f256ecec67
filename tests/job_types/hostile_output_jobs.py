"""Job types that leave something else than files in their directories."""

import shutil
from pathlib import Path
from typing import Literal

from headway import BlockingContext, Context, job
from pydantic import BaseModel


class Replaced(BaseModel):
    """Which of the job's directories becomes a link, and what it leads to."""

    directory: Literal["output", "work", "job"]
    target: Path


def replace(ctx: BlockingContext | Context, input: Replaced) -> None:
    """Put a link in place of the directory."""
    output, work = ctx.output_dir, ctx.work_dir
    replaced = {"output": output, "work": work, "job": output.parent}[input.directory]
    shutil.rmtree(replaced)
    replaced.symlink_to(input.target)


@job("replaces-in-process")
def replaces_in_process(ctx: BlockingContext, input: Replaced) -> None:
    replace(ctx, input)


@job("replaces-async")
async def replaces_async(ctx: Context, input: Replaced) -> None:
    replace(ctx, input)


class Planted(BaseModel):
    """What links lead to."""

    target: Path


@job("plants-links")
def plants_links(ctx: BlockingContext, input: Planted) -> None:
    """Leave links among the files, in folders of every directory, and beside them."""
    for directory in (ctx.output_dir, ctx.work_dir):
        (directory / "deep" / "deeper").mkdir(parents=True)
        (directory / "link").symlink_to(input.target)
        (directory / "deep" / "deeper" / "link").symlink_to(input.target)
    (ctx.output_dir.parent / "link").symlink_to(input.target)
    (ctx.output_dir.parent / "inputs").symlink_to(input.target)
    (ctx.output_dir / "plain.txt").write_text("plain")
