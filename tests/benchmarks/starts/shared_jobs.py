"""A job type whose model is loaded before processes are forked; that begins when the server starts."""

from typing import Annotated

from headway import BlockingContext, Depends, job

from tests.benchmarks.starts.loading import model


@job("predicts-shared")
def predicts_shared(ctx: BlockingContext, model: Annotated[str, Depends(model, before_fork=True)]) -> str:
    return model
