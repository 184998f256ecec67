"""Job types that do nothing: one file for all commits, whatever their package is called (see `compared_jobs`)."""

import sys
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headway import BlockingContext, Context, job
else:
    package = import_module("headway" if "headway" in sys.modules else "server")
    BlockingContext, Context, job = package.BlockingContext, package.Context, package.job


@job("empty-async")
async def empty_async(ctx: Context) -> None:
    """In the server's event loop."""


@job("empty")
def empty(ctx: BlockingContext) -> None:
    """In a process of its own."""
