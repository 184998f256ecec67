"""Whether the server can do its work: the store can be written, and no background loop keeps failing."""

import asyncio
import time

from ..errors import NotReadyError
from ..loops import Loops
from ..ports.jobs import JobStore

MAX_AGE_S = 1.0
RETRY_AFTER_S = 5


class Readiness:
    """The latest result. The store is tried by writing, at most once a second however many clients ask: all may."""

    def __init__(self, store: JobStore, loops: Loops) -> None:
        self._store = store
        self._loops = loops
        self._attempt: asyncio.Task[None] | None = None
        self._began_s = 0.0

    async def check(self) -> None:
        """Raises `StoreUnavailableError`, or `NotReadyError` with the reason. Callers share an attempt in progress."""
        if self._attempt is None or (self._attempt.done() and time.monotonic() - self._began_s >= MAX_AGE_S):
            self._began_s = time.monotonic()
            self._attempt = asyncio.create_task(self._store.check_writable(), name="readiness")
            self._attempt.add_done_callback(_retrieve)
        await asyncio.shield(self._attempt)
        for failing in self._loops.failing:
            raise NotReadyError(failing.reason, RETRY_AFTER_S)


def _retrieve(attempt: asyncio.Task[None]) -> None:
    """Mark its exception as retrieved: if the client has gone, nobody else does, and asyncio logs it as lost."""
    if not attempt.cancelled():
        attempt.exception()
