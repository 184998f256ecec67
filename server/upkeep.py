"""What an operator does to a record beside its work: purge, back up, examine. The same with and without a server."""

import asyncio
import os
import platform
import resource
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from .clock import utc_now
from .errors import SetupError
from .files import DataDirectory, sync_directory
from .jobs import Status
from .ports import Outbox, RecordKeeper
from .secret_orders import RotateOrder, SecretsOrder, rotate_secret, show_secrets

PURGE_BATCH = 200
LOW_SPACE_BYTES = 256 * 1024 * 1024


class PurgeOrder(BaseModel):
    """Which ended jobs are to go."""

    older_than_s: float = Field(ge=0)
    statuses: list[Status]
    dry_run: bool = False


class BackupOrder(BaseModel):
    """Where the copy goes."""

    path: Path


class Upkeep:
    """The operator's commands on one data directory; they run beside jobs and polls."""

    def __init__(self, record: RecordKeeper, outbox: Outbox, files: DataDirectory) -> None:
        self._record = record
        self._outbox = outbox
        self._files = files

    async def carry_out(self, command: str, fields: Any) -> dict[str, Any]:
        """One command by its name. Raises `SetupError` with words for the operator."""
        try:
            match command:
                case "purge":
                    return {"jobs": await self._purge(PurgeOrder.model_validate(fields))}
                case "backup":
                    return {"bytes": await self._backup(BackupOrder.model_validate(fields).path)}
                case "doctor":
                    return await self._examine()
                case "secrets show":
                    return await show_secrets(self._outbox, SecretsOrder.model_validate(fields))
                case "secrets rotate":
                    return await rotate_secret(self._outbox, RotateOrder.model_validate(fields))
                case _:
                    raise SetupError(f"there is no command {command!r}")
        except ValidationError as error:
            message = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
            raise SetupError(f"{command}: {message}") from error

    async def _purge(self, order: PurgeOrder) -> int:
        """Delete the jobs, a batch at a time; how many there were (with `dry_run`: would be)."""
        before = utc_now() - timedelta(seconds=order.older_than_s)
        if order.dry_run:
            return await self._record.count_ended(before, order.statuses)
        purged = 0
        while batch := await self._record.delete_ended(before, order.statuses, PURGE_BATCH):
            for job_id in batch:
                await asyncio.to_thread(self._files.remove_job, job_id)
            purged += len(batch)
        return purged

    async def _backup(self, target: Path) -> int:
        """Write a consistent copy of the record to a new file, durably; its size in bytes."""
        partial = target.with_name(f"{target.name}.partial")
        await asyncio.to_thread(_check_target, target, partial)
        try:
            await self._record.copy_to(partial)
            return await asyncio.to_thread(_put_in_place, partial, target)
        finally:
            await asyncio.to_thread(partial.unlink, missing_ok=True)

    async def _examine(self) -> dict[str, Any]:
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
