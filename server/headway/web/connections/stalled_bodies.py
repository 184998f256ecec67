"""Limits that a submission meets before anything is accepted: how often, space on the disk, time for its body."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import structlog
from aiohttp import StreamReader, web

from ..parts import PARTS
from ..problems import Problem

LOOKS_PER_LIMIT = 10
LONGEST_LOOK_S = 1.0

log = structlog.get_logger(__name__)


async def patience(app: web.Application) -> AsyncIterator[None]:
    """While the application runs: gives up bodies of which too little comes (`body_timeout_s`)."""
    watch = asyncio.create_task(_give_up_stalled(app), name="stalled-bodies")
    yield
    watch.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watch


async def _give_up_stalled(app: web.Application) -> None:
    """Look at the bodies that are being read: each has time for as much as the slowest rate makes of it.

    So neither a client that sends nothing more nor one that sends a byte now and then keeps its place for ever. One
    task for all of them: a timer for each read would cost more than the read.
    """
    limit_s = app[PARTS].settings.body_timeout_s
    enough_bytes = max(1, int(limit_s * app[PARTS].settings.body_min_bytes_per_s))
    loop = asyncio.get_running_loop()
    seen: dict[StreamReader, tuple[int, float]] = {}
    while True:
        await asyncio.sleep(min(LONGEST_LOOK_S, limit_s / LOOKS_PER_LIMIT))
        now_s = loop.time()
        seen = {content: _progress(content, seen.get(content), now_s, enough_bytes) for content in app[PARTS].arriving}
        for content, (_, since_s) in seen.items():
            if now_s - since_s >= limit_s:
                log.info("a body was given up, too little of it came", received_bytes=content.total_bytes)
                detail = f"Less than {enough_bytes:,} bytes came in {limit_s:g} s."
                content.set_exception(Problem("body-timeout", detail))


def _progress(
    content: StreamReader, before: tuple[int, float] | None, now_s: float, enough_bytes: int
) -> tuple[int, float]:
    """How much had come when it was enough the last time, and when that was."""
    if before is None or content.total_bytes - before[0] >= enough_bytes:
        return content.total_bytes, now_s
    return before
