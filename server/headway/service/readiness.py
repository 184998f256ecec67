"""`/readyz`: whether the store can write is found out by writing, once a second at most, however many ask: all may."""

import asyncio
import time

from ..ports.jobs import Probe

MAX_AGE_S = 1.0


class Readiness:
    """What the latest look came to."""

    def __init__(self, store: Probe) -> None:
        self._store = store
        self._look: asyncio.Task[None] | None = None
        self._began_s = 0.0

    async def check(self) -> None:
        """Raises `StoreUnavailableError`. Who asks while a look waits for the disk waits with it."""
        if self._look is None or (self._look.done() and time.monotonic() - self._began_s >= MAX_AGE_S):
            self._began_s = time.monotonic()
            self._look = asyncio.create_task(self._store.check_writable(), name="readiness")
        await asyncio.shield(self._look)
