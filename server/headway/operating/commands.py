"""What an operator does to a record beside its work: purge, back up, examine, keys. Also without a server."""

import asyncio
import os
import platform
import resource
import shutil
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from ..clock import utc_now
from ..domain.jobs import Status
from ..errors import SetupError
from ..ports.files import FileStore
from ..ports.keys import KeyStore
from ..ports.outbox import Outbox
from ..ports.record import RecordKeeper
from ..syncing import sync_directory
from .keys import KeyOrder, RevokeOrder, create_key, list_keys, revoke_key
from .secrets import RotateOrder, SecretsOrder, rotate_secret, show_secrets

CarryOut = Callable[[Any], Awaitable[dict[str, Any]]]

PURGE_BATCH = 200
LOW_SPACE_BYTES = 256 * 1024 * 1024


class PurgeOrder(BaseModel):
    """Which ended jobs are to go."""

    older_than_s: float = Field(ge=0)
    statuses: list[Status]
    dry_run: bool = False


class NoOrder(BaseModel):
    """Nothing has to be said."""


class BackupOrder(BaseModel):
    """Where the copy goes."""

    path: Path


class Upkeep:
    """The operator's commands on one data directory; they run beside jobs and polls."""

    def __init__(self, record: RecordKeeper, keys: KeyStore, outbox: Outbox, files: FileStore) -> None:
        self._record = record
        self._keys = keys
        self._outbox = outbox
        self._files = files

    async def carry_out(self, command: str, fields: Any) -> dict[str, Any]:
        """One command by its name. Raises `HeadwayError` with words for the operator."""
        known = self._commands.get(command)
        if known is None:
            raise SetupError(f"there is no command {command!r}")
        order_type, carry_out = known
        try:
            order = order_type.model_validate(fields)
        except ValidationError as error:
            message = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
            raise SetupError(f"{command}: {message}") from error
        return await carry_out(order)

    @property
    def _commands(self) -> Mapping[str, tuple[type[BaseModel], CarryOut]]:
        """What each takes, and what it does with that."""
        return {
            "purge": (PurgeOrder, self._purge),
            "backup": (BackupOrder, self._backup),
            "doctor": (NoOrder, self._examine),
            "keys create": (KeyOrder, partial(create_key, self._keys)),
            "keys list": (NoOrder, partial(list_keys, self._keys)),
            "keys revoke": (RevokeOrder, partial(revoke_key, self._keys)),
            "secrets show": (SecretsOrder, partial(show_secrets, self._outbox)),
            "secrets rotate": (RotateOrder, partial(rotate_secret, self._outbox)),
        }

    async def _purge(self, order: PurgeOrder) -> dict[str, Any]:
        """Delete the jobs, a batch at a time; how many there were (with `dry_run`: would be)."""
        before = utc_now() - timedelta(seconds=order.older_than_s)
        if order.dry_run:
            return {"jobs": await self._record.count_ended(before, order.statuses)}
        purged = 0
        while batch := await self._record.delete_ended(before, order.statuses, PURGE_BATCH):
            for job_id in batch:
                await asyncio.to_thread(self._files.remove_job, job_id)
            purged += len(batch)
        return {"jobs": purged}

    async def _backup(self, order: BackupOrder) -> dict[str, Any]:
        """Write a consistent copy of the record to a new file, durably; its size in bytes."""
        target = order.path
        unfinished = target.with_name(f"{target.name}.unfinished")
        await asyncio.to_thread(_check_target, target, unfinished)
        try:
            await self._record.copy_to(unfinished)
            return {"bytes": await asyncio.to_thread(_put_in_place, unfinished, target)}
        finally:
            await asyncio.to_thread(unfinished.unlink, missing_ok=True)

    async def _examine(self, _order: NoOrder) -> dict[str, Any]:
        """Integrity, versions, limits and space; `faults` says what is wrong, if anything is."""
        faults = list(await self._record.find_faults())
        free_bytes = shutil.disk_usage(self._files.root).free
        if free_bytes < LOW_SPACE_BYTES:
            faults.append(f"only {free_bytes // 1024 // 1024} MiB are free on the disk of {self._files.root}")
        now = utc_now()
        ended = [Status.COMPLETED, Status.FAILED, Status.CANCELLED]
        return {
            "dataDir": str(self._files.root),
            "databaseBytes": await asyncio.to_thread(lambda: self._files.database.stat().st_size),
            "endedJobs": await self._record.count_ended(now, ended),
            "freeBytes": free_bytes,
            "openFilesLimit": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            "python": platform.python_version(),
            "engine": self._record.engine,
            "faults": faults,
        }


def _check_target(target: Path, partial: Path) -> None:
    """Raises `SetupError` before the long work if the file cannot be made."""
    if target.exists():
        raise SetupError(f"{target} exists already: name a new file")
    try:
        partial.unlink(missing_ok=True)
        partial.touch(mode=0o600)  # SQLite fills an empty file, and leaves its permissions
    except OSError as error:
        raise SetupError(f"{target} cannot be written ({error.strerror})") from error


def _put_in_place(partial: Path, target: Path) -> int:
    """Sync the finished copy and give it its name; its size."""
    descriptor = os.open(partial, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    partial.rename(target)
    sync_directory(target.parent)
    return target.stat().st_size
