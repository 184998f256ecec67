"""The backends that have to pass the conformance suite: how each opens its record, and how it crashes."""

import shutil
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Protocol

from headway.backends.bells import LocalHub
from headway.backends.sqlite.auditing.audit_trail import SqliteAuditTrail
from headway.backends.sqlite.key_store import SqliteKeyStore
from headway.backends.sqlite.many.actions import SqliteActions
from headway.backends.sqlite.outbox import SqliteOutbox
from headway.backends.sqlite.record import SqliteRecord
from headway.backends.sqlite.store import SqliteStore
from headway.domain.jobs import Job
from headway.links import Links
from headway.ports.actions import Actions
from headway.ports.audit import AuditTrail
from headway.ports.events import EventHub
from headway.ports.jobs import JobStore
from headway.ports.keys import KeyStore
from headway.ports.outbox import Outbox
from headway.ports.record import RecordKeeper
from headway.quotas import NO_QUOTA, Quota
from headway.representation import event_body

from tests.conformance.records import tick

BODY_OF = partial(event_body, links=Links(""))


class Backend(Protocol):
    """One record, which can be opened several times, one after the other."""

    @property
    def hub(self) -> EventHub: ...

    @property
    def store(self) -> JobStore:
        """The store of the open record."""
        ...

    @property
    def actions(self) -> Actions:
        """The actions of the open record."""
        ...

    @property
    def outbox(self) -> Outbox:
        """The outbox of the open record."""
        ...

    @property
    def keeper(self) -> RecordKeeper:
        """The operator's view of the open record."""
        ...

    @property
    def audit(self) -> AuditTrail:
        """The audit trail of the open record."""
        ...

    async def keys(self) -> KeyStore:
        """The keys of the open record."""
        ...

    async def open(
        self,
        *,
        max_queued: int = 100_000,
        max_queued_per_owner: int | None = None,
        quota: Quota = NO_QUOTA,
        sharing: Sequence[Collection[str]] = (),
    ) -> JobStore: ...

    async def close(self) -> None:
        """Close the record in good order."""
        ...

    async def crash(self) -> None:
        """Leave what `kill -9` would leave now."""
        ...

    async def tick_to_disk(self, job: Job, percent: float, seconds: float) -> None:
        """Publish progress and wait until it is recorded."""
        ...


class SqliteBackend:
    """The embedded record on a real file."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._generation = 0
        self._record: SqliteRecord | None = None
        self.hub = LocalHub()

    @property
    def path(self) -> Path:
        return self._directory / f"headway-{self._generation}.db"

    @property
    def record(self) -> SqliteRecord:
        assert self._record is not None, "the record is not open"
        return self._record

    @property
    def store(self) -> SqliteStore:
        return self.record.store

    @property
    def actions(self) -> SqliteActions:
        return self.record.actions

    @property
    def outbox(self) -> SqliteOutbox:
        return self.record.outbox

    @property
    def keeper(self) -> RecordKeeper:
        return self.record.keeper

    @property
    def audit(self) -> SqliteAuditTrail:
        return self.record.audit

    async def keys(self) -> SqliteKeyStore:
        return self.record.keys

    async def open(
        self,
        *,
        max_queued: int = 100_000,
        max_queued_per_owner: int | None = None,
        quota: Quota = NO_QUOTA,
        sharing: Sequence[Collection[str]] = (),
    ) -> SqliteStore:
        assert self._record is None, "the record is open already"
        self._record = await SqliteRecord.open(
            self.path,
            self.hub,
            max_queued=max_queued,
            max_queued_per_owner=max_queued_per_owner,
            quota=quota,
            sharing=sharing,
            body_of=BODY_OF,
        )
        return self._record.store

    async def close(self) -> None:
        if self._record is not None:
            record, self._record = self._record, None
            await record.close()

    async def crash(self) -> None:
        """The files as they are now become the record. What the open one writes afterwards is lost."""
        left = self.path
        self._generation += 1
        for suffix in ("", "-wal"):
            with suppress(FileNotFoundError):
                shutil.copyfile(f"{left}{suffix}", f"{self.path}{suffix}")
        await self.close()

    async def tick_to_disk(self, job: Job, percent: float, seconds: float) -> None:
        await tick(self.store, job, percent, seconds)
        self.store._write_ticks()
        await self.store.check_writable()


@asynccontextmanager
async def sqlite(directory: Path) -> AsyncIterator[Backend]:
    backend = SqliteBackend(directory)
    await backend.open()
    try:
        yield backend
    finally:
        await backend.close()


BACKENDS = {"sqlite": sqlite}
"""The backends by name. Every test of this folder runs on each of them."""
