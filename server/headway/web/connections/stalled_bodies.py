"""Request bodies that arrive too slowly are abandoned, so that no client can hold a place for ever."""

import asyncio
from collections.abc import Collection

import structlog
from aiohttp import StreamReader

from ...loops import Loop, Loops
from ..problems import Problem

MIN_BYTES_PER_S = 500
CHECKS_PER_LIMIT = 10
LONGEST_PAUSE_S = 1.0

log = structlog.get_logger(__name__)


class StalledBodies:
    """Checks the bodies being read: within each `timeout_s`, `MIN_BYTES_PER_S` times as many bytes must arrive.

    One loop for all of them: a timer for each read would cost more than the read. A client that sends nothing and one
    that sends a byte now and then are treated the same.
    """

    def __init__(self, reading: Collection[StreamReader], *, timeout_s: float) -> None:
        """`reading` is read anew at each check."""
        self._reading = reading
        self._timeout_s = timeout_s
        self._enough_bytes = max(1, int(timeout_s * MIN_BYTES_PER_S))
        self._seen: dict[StreamReader, tuple[int, float]] = {}

    def start(self, loops: Loops) -> Loop:
        """Check until the loop is stopped."""
        return loops.start("stalled-bodies", self._check)

    async def _check(self) -> float:
        now_s = asyncio.get_running_loop().time()
        self._seen = {content: self._progress(content, now_s) for content in self._reading}
        for content, (_, since_s) in self._seen.items():
            if now_s - since_s >= self._timeout_s:
                log.info("a request body was abandoned: too little of it arrived", received_bytes=content.total_bytes)
                detail = f"Less than {self._enough_bytes:,} bytes arrived in {self._timeout_s:g} s."
                content.set_exception(Problem("body-timeout", detail))
        return min(LONGEST_PAUSE_S, self._timeout_s / CHECKS_PER_LIMIT)

    def _progress(self, content: StreamReader, now_s: float) -> tuple[int, float]:
        """How many bytes had arrived when it was last enough, and when that was."""
        before = self._seen.get(content)
        if before is None or content.total_bytes - before[0] >= self._enough_bytes:
            return content.total_bytes, now_s
        return before
