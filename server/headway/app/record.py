"""Opening the record as the settings ask."""

from collections.abc import Collection, Sequence
from contextlib import AsyncExitStack
from functools import partial

from ..backends.bells import LocalHub
from ..backends.sqlite.record import SqliteRecord
from ..files.data_directory import DataDirectory
from ..links import Links
from ..metrics import Metrics
from ..ports.backend import Backend
from ..representation import event_body
from ..settings import Settings


async def open_record(
    stack: AsyncExitStack,
    settings: Settings,
    files: DataDirectory,
    hub: LocalHub,
    metrics: Metrics,
    sharing: Sequence[Collection[str]] = (),
) -> Backend:
    """Open or create the record; `stack` closes it. Only this function names a backend. Raises `SetupError`.

    `sharing` holds the job types that share slots, pool by pool.
    """
    record = await SqliteRecord.open(
        files.database,
        hub,
        max_queued=settings.max_queued,
        max_queued_per_owner=settings.max_queued_per_owner,
        quota=settings.quota,
        sharing=sharing,
        body_of=partial(event_body, links=Links(settings.public_url)),
        commits=metrics.commits,
    )
    stack.push_async_callback(record.close)
    return record.backend
