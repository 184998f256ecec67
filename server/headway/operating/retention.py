"""Retention: deletes what has expired, and the files of deleted jobs."""

import asyncio
from datetime import timedelta
from functools import partial

from ..clock import utc_now
from ..loops import Loop, Loops
from ..ports.backend import Backend
from ..ports.events import Bell, Listener
from ..ports.files import Orphans

EXPIRE_EVERY_S = 5.0
NEXT_BATCH_S = 0.05
EXPIRE_BATCH = 200
LISTEN_S = 5.0
RETRY_EVERY_S = 10 * 60.0
MOST_RETRIED = 1_000
"""Jobs whose files could not be deleted. Those of others are found after the next start."""


class Retention:
    """Deletes what has expired: records first, then their files."""

    def __init__(self, backend: Backend, files: Orphans, audit_retain_s: float) -> None:
        self._store = backend.store
        self._keys = backend.keys
        self._outbox = backend.outbox
        self._audit = backend.audit
        self._audit_retain = timedelta(seconds=audit_retain_s)
        self._hub = backend.hub
        self._files = files
        self._running: list[Loop] = []
        self._left: dict[str, None] = {}

    async def start(self, loops: Loops) -> None:
        """Delete uploads that were never accepted and locks that nobody holds, then keep deleting what expires."""
        await asyncio.to_thread(self._files.clear_incoming)
        await asyncio.to_thread(self._files.clear_locks)
        deleted = self._hub.listen(Bell.DELETED)  # before recovery, which can delete jobs too
        self._running = [
            loops.start("retention-expire", self._expire),
            loops.start("retention-files", partial(self._remove_deleted, deleted), until=lambda: self._hub.closed),
            loops.start("retention-retry", self._retry),
        ]

    async def stop(self) -> None:
        for loop in self._running:
            await loop.stop()

    async def _expire(self) -> float:
        expired = max(
            await self._store.expire(utc_now(), EXPIRE_BATCH),
            await self._store.forget_keys(utc_now(), EXPIRE_BATCH),
            await self._outbox.expire(utc_now(), EXPIRE_BATCH),
            await self._keys.forget_sessions(utc_now(), EXPIRE_BATCH),
            await self._audit.expire(utc_now() - self._audit_retain, EXPIRE_BATCH),
        )
        return NEXT_BATCH_S if expired == EXPIRE_BATCH else EXPIRE_EVERY_S

    async def _remove_deleted(self, deleted: Listener) -> None:
        for job_id in await deleted.wait(LISTEN_S):
            await self._remove_files(job_id)

    async def _remove_files(self, job_id: str) -> None:
        """A handler may have left files that the server may not delete: root's, or immutable ones. The log names them.

        They are tried again, and after the next start they are orphans.
        """
        if not self._files.has_any(job_id) or await asyncio.to_thread(self._files.remove_job, job_id):
            self._left.pop(job_id, None)
        elif len(self._left) < MOST_RETRIED:
            self._left[job_id] = None

    async def _retry(self) -> float:
        for job_id in list(self._left):
            await self._remove_files(job_id)
        return RETRY_EVERY_S
