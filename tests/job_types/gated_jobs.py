"""Job types that wait for the test: they go on when a file appears, and write what they did to a file."""

import asyncio
import os
import time
from pathlib import Path

from headway import BlockingContext, Context, Upload, job
from pydantic import BaseModel


class Gate(BaseModel):
    """The file that opens the gate, and the file to which the handler writes."""

    gate: Path
    trace: Path | None = None


class Attachment(BaseModel):
    attachment: Upload
    seconds: float = 0.0


def _leave_trace(trace: Path | None, job_id: str, attempt: int) -> None:
    """The side effect: a line in a file, which no crash of the server undoes."""
    if trace is None:
        return
    with trace.open("a") as file:
        file.write(f"{job_id} {attempt}\n")
        file.flush()
        os.fsync(file.fileno())


@job("gated-async")
async def gated_async(ctx: Context, input: Gate) -> int:
    """Reports until the gate is open, then has its side effect and ends."""
    waited = 0
    while not input.gate.exists():
        waited += 1
        ctx.progress(done=waited, message="waiting")
        await asyncio.sleep(0.02)
    _leave_trace(input.trace, ctx.job_id, ctx.attempt)
    return ctx.attempt


@job("gated-process")
def gated_process(ctx: BlockingContext, input: Gate) -> int:
    waited = 0
    while not input.gate.exists():
        waited += 1
        ctx.progress(done=waited, message="waiting")
        time.sleep(0.02)
    _leave_trace(input.trace, ctx.job_id, ctx.attempt)
    return ctx.attempt


@job("takes-an-attachment")
async def takes_an_attachment(ctx: Context, input: Attachment) -> int:
    """Has an upload, leaves a work file and an output file, and ends after `seconds`."""
    (ctx.work_dir / "left").write_text("work")
    (ctx.output_dir / "copy.txt").write_text("output")
    await asyncio.sleep(input.seconds)
    return input.attachment.size_bytes


@job("gated-talker")
async def gated_talker(ctx: Context, input: Gate) -> int:
    """Logs a line and reports progress again and again until the gate is open."""
    turn = 0
    while not input.gate.exists():
        turn += 1
        ctx.log(f"attempt {ctx.attempt}, turn {turn}")
        ctx.progress(done=turn)
        await asyncio.sleep(0.1)
    return turn
