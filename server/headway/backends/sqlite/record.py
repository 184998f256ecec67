"""The whole record in one SQLite file: what implements the ports, opened and closed together."""

import sqlite3
from collections.abc import Collection, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

from ...errors import SetupError, StoreUnavailableError
from ...metrics import CommitMetrics
from ...ports.backend import Backend
from ...ports.events import Bell, EventHub
from ...quotas import NO_QUOTA, Quota
from ..memory.quotas import Quotas
from ..memory.running_limits import RunningLimits
from ..memory.turns import Turns
from .announcing import BodyOf
from .auditing.audit_trail import SqliteAuditTrail
from .database import Database
from .key_store import SqliteKeyStore
from .many.actions import SqliteActions
from .outbox import SqliteOutbox
from .record_keeper import SqliteRecordKeeper
from .store import SqliteStore


@dataclass(frozen=True, slots=True)
class SqliteRecord:
    """Jobs, keys and deliveries of one server process, which owns the file. Open it with `SqliteRecord.open`."""

    database: Database
    hub: EventHub
    store: SqliteStore
    actions: SqliteActions
    keys: SqliteKeyStore
    outbox: SqliteOutbox
    keeper: SqliteRecordKeeper
    audit: SqliteAuditTrail

    @classmethod
    async def open(
        cls,
        path: Path,
        hub: EventHub,
        *,
        max_queued: int,
        max_queued_per_owner: int | None = None,
        quota: Quota = NO_QUOTA,
        sharing: Sequence[Collection[str]] = (),
        body_of: BodyOf,
        commits: CommitMetrics | None = None,
    ) -> Self:
        """Open or create the file. Raises `SetupError`. `quota` is that of every owner who has none of their own.

        `body_of` makes the bodies of webhooks, in another thread. `sharing` holds the job types that share slots, pool
        by pool; those in none share with each other.
        """
        async with AsyncExitStack() as opening:
            try:
                quotas = Quotas(quota)
                database = await Database.open(
                    path,
                    body_of=body_of,
                    commits=commits,
                    counted=quotas.count,
                    turns=Turns(sharing),
                    audited=partial(hub.ring, Bell.AUDITED, ""),
                    limits=RunningLimits(quota.running),
                    opened=partial(hub.ring, Bell.QUEUED, ""),
                )
                opening.push_async_callback(database.close)
                store = await SqliteStore.open(
                    database,
                    hub,
                    quotas,
                    max_queued=max_queued,
                    max_queued_per_owner=max_queued_per_owner,
                    sharing=sharing,
                )
                keys = await SqliteKeyStore.open(database, hub, quotas)
            except (StoreUnavailableError, sqlite3.Error) as error:
                message = f"{path} cannot be read ({error}): restore a backup or choose another --data-dir"
                raise SetupError(message) from error
            opening.pop_all()
        actions = SqliteActions(database, hub, store.mirror, quotas)
        outbox, keeper = SqliteOutbox(database, hub), SqliteRecordKeeper(database, store)
        return cls(database, hub, store, actions, keys, outbox, keeper, SqliteAuditTrail(database))

    @property
    def backend(self) -> Backend:
        """Its ports."""
        return Backend(
            store=self.store,
            actions=self.actions,
            hub=self.hub,
            keys=self.keys,
            outbox=self.outbox,
            keeper=self.keeper,
            audit=self.audit,
        )

    async def close(self) -> None:
        """Bring everything to disk and close the file."""
        self.store.close()
        await self.database.close()
