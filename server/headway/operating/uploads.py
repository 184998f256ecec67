"""Resumable uploads that no job has taken within a day are deleted."""

from collections.abc import Awaitable, Callable
from datetime import datetime

from ..clock import utc_now
from ..loops import Loop, Loops

SWEEP_EVERY_S = 5.0


class UploadSweep:
    """Has expired uploads deleted from time to time."""

    def __init__(self, expire: Callable[[datetime], Awaitable[None]]) -> None:
        """`expire` deletes those that have expired at an instant."""
        self._expire = expire
        self._loop: Loop | None = None

    def start(self, loops: Loops) -> None:
        self._loop = loops.start("uploads", self._sweep)

    async def stop(self) -> None:
        if self._loop is not None:
            await self._loop.stop()

    async def _sweep(self) -> float:
        await self._expire(utc_now())
        return SWEEP_EVERY_S
