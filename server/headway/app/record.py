"""The record: everything that is kept in the one database."""

from contextlib import AsyncExitStack
from functools import partial
from typing import NamedTuple

from ..backends.bells import LocalHub
from ..backends.sqlite.key_store import SqliteKeyStore
from ..backends.sqlite.outbox import SqliteOutbox
from ..backends.sqlite.record_keeper import SqliteRecordKeeper
from ..backends.sqlite.store import SqliteStore
from ..errors import SetupError, StoreUnavailableError
from ..files.data_directory import DataDirectory
from ..links import Links
from ..metrics import Metrics
from ..representation import event_body
from ..settings import Settings


class Record(NamedTuple):
    """Four views of one database."""

    store: SqliteStore
    keeper: SqliteRecordKeeper
    outbox: SqliteOutbox
    keys: SqliteKeyStore


async def open_record(
    stack: AsyncExitStack, settings: Settings, files: DataDirectory, hub: LocalHub, metrics: Metrics
) -> Record:
    """Open or create the record; `stack` closes it. Raises `SetupError`."""
    store = await SqliteStore.open(
        files.database,
        hub,
        max_queued=settings.max_queued,
        max_queued_per_owner=settings.max_queued_per_owner,
        body_of=partial(event_body, links=Links(settings.public_url)),
        commits=metrics.commits,
    )
    stack.push_async_callback(store.close)
    try:
        keys = await SqliteKeyStore.open(store, hub)
    except StoreUnavailableError as error:
        raise SetupError(f"the keys cannot be read ({error}): restore a backup or choose another --data-dir") from error
    return Record(store, SqliteRecordKeeper(files.database, store), SqliteOutbox(store, hub), keys)
