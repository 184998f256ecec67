"""A job type with a large buffer that is made before processes are forked."""

import os
import time
from typing import Annotated

from headway import BlockingContext, Depends, job

from tests.benchmarks.starts.loading import MIB

PAGE_BYTES = 4096
CHECK_S = 0.1


def filled() -> bytes:
    return b"\x01" * (int(os.environ[MIB]) << 20)


@job("reads-the-buffer")
def reads_the_buffer(ctx: BlockingContext, buffer: Annotated[bytes, Depends(filled, before_fork=True)]) -> None:
    """Reads each page, reports it, and stays until it is cancelled."""
    ctx.progress(done=sum(buffer[::PAGE_BYTES]), message="read")
    while True:
        time.sleep(CHECK_S)
        ctx.raise_if_cancelled()
