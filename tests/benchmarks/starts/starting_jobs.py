"""Job types for what older commits do not have: processes that stay, and dependencies."""

import asyncio
from typing import Annotated

from headway import BlockingContext, Context, Depends, job

from tests.benchmarks.starts.loading import model

Model = Annotated[str, Depends(model)]


@job("empty-kept", keep_process=True)
def empty_kept(ctx: BlockingContext) -> None:
    """In a process that has done others and will do more."""


@job("sleeps")
async def sleeps(ctx: Context) -> None:
    """Waits for a second, as for an answer from elsewhere."""
    await asyncio.sleep(1)


@job("predicts")
def predicts(ctx: BlockingContext, model: Model) -> str:
    return model


@job("predicts-kept", keep_process=True)
def predicts_kept(ctx: BlockingContext, model: Model) -> str:
    return model
