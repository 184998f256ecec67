"""The operator's commands on a data directory: purge, back up, examine, keys and secrets; with or without a server."""

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
from ..domain.audit import OPERATOR, Action, Entry
from ..domain.jobs import Status
from ..errors import SetupError
from ..ports.backend import Backend
from ..ports.files import FileStore
from ..syncing import sync_directory
from .audit import ReadEntries, read_entries
from .keys import CreateKey, RevokeKey, create_key, list_keys, revoke_key
from .quotas import SetKeyQuota, SetOwnerQuota, set_key_quota, set_owner_quota, show_usage
from .secrets import RotateSecret, ShowSecrets, rotate_secret, show_secrets

Run = Callable[[Any], Awaitable[dict[str, Any]]]

PURGE_BATCH = 200
LOW_SPACE_BYTES = 256 * 1024 * 1024


class Purge(BaseModel):
    """Which ended jobs to delete."""

    older_than_s: float = Field(ge=0)
    statuses: list[Status]
    dry_run: bool = False


class NoFields(BaseModel):
    """No fields."""


class Backup(BaseModel):
    """Where to write the copy."""

    path: Path


class Commands:
    """The operator's commands on one data directory; they run beside jobs and polls."""

    address: str | None = None
    """Where the server answers, once it listens."""

    def __init__(self, backend: Backend, files: FileStore) -> None:
        self._record = backend.keeper
        self._keys = backend.keys
        self._outbox = backend.outbox
        self._audit = backend.audit
        self._hub = backend.hub
        self._files = files

    async def run(self, name: str, fields: Any) -> dict[str, Any]:
        """Run a command by its name. Raises `HeadwayError` with a message for the operator."""
        known = self._commands.get(name)
        if known is None:
            raise SetupError(f"there is no command {name!r}")
        command_type, run = known
        try:
            command = command_type.model_validate(fields)
        except ValidationError as error:
            message = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
            raise SetupError(f"{name}: {message}") from error
        return await run(command)

    @property
    def _commands(self) -> Mapping[str, tuple[type[BaseModel], Run]]:
        """By name: the fields that a command takes, and the function that runs it."""
        return {
            "purge": (Purge, self._purge),
            "backup": (Backup, self._backup),
            "doctor": (NoFields, self._examine),
            "address": (NoFields, self._tell_address),
            "keys create": (CreateKey, partial(create_key, self._keys)),
            "keys list": (NoFields, partial(list_keys, self._keys, self._record)),
            "keys quota": (SetKeyQuota, partial(set_key_quota, self._keys)),
            "quota": (SetOwnerQuota, partial(set_owner_quota, self._keys)),
            "usage": (NoFields, partial(show_usage, self._record, self._keys)),
            "keys revoke": (RevokeKey, partial(revoke_key, self._keys)),
            "secrets show": (ShowSecrets, partial(show_secrets, self._outbox, self._audit)),
            "audit": (ReadEntries, partial(read_entries, self._audit, self._hub)),
            "secrets rotate": (RotateSecret, partial(rotate_secret, self._outbox)),
        }

    async def _tell_address(self, _command: NoFields) -> dict[str, Any]:
        """For commands that speak HTTP to the server of this directory."""
        return {"address": self.address}

    async def _purge(self, command: Purge) -> dict[str, Any]:
        """Delete jobs in batches; returns how many were deleted (with `dry_run`: would be), and how many left files."""
        before = utc_now() - timedelta(seconds=command.older_than_s)
        if command.dry_run:
            return {"jobs": await self._record.count_ended(before, command.statuses), "leftFiles": 0}
        purged = left = 0
        while batch := await self._record.delete_ended(before, command.statuses, PURGE_BATCH, OPERATOR):
            for job_id in batch:
                left += not await asyncio.to_thread(self._files.remove_job, job_id)
            purged += len(batch)
        return {"jobs": purged, "leftFiles": left}

    async def _backup(self, command: Backup) -> dict[str, Any]:
        """Write a consistent copy of the record to a new file and sync it; returns its size in bytes."""
        target = command.path
        unfinished = target.with_name(f"{target.name}.unfinished")
        await asyncio.to_thread(_check_target, target, unfinished)
        try:
            await self._audit.append([Entry(utc_now(), OPERATOR, Action.BACK_UP)])
            await self._record.copy_to(unfinished)
            return {"bytes": await asyncio.to_thread(_put_in_place, unfinished, target)}
        finally:
            await asyncio.to_thread(unfinished.unlink, missing_ok=True)

    async def _examine(self, _command: NoFields) -> dict[str, Any]:
        """Integrity, versions, limits and disk space; `faults` lists what is wrong."""
        faults = list(await self._record.find_faults()) or list(await self._record.find_miscounts())
        free_bytes = shutil.disk_usage(self._files.root).free
        if free_bytes < LOW_SPACE_BYTES:
            faults.append(f"only {free_bytes // 1024 // 1024} MiB are free on the disk of {self._files.root}")
        now = utc_now()
        ended = [Status.COMPLETED, Status.FAILED, Status.CANCELLED]
        return {
            "dataDir": str(self._files.root),
            "databaseBytes": await asyncio.to_thread(lambda: self._files.database.stat().st_size),
            "endedJobs": await self._record.count_ended(now, ended),
            "uploads": await asyncio.to_thread(self._files.uploads.count),
            "freeBytes": free_bytes,
            "openFilesLimit": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            "python": platform.python_version(),
            "engine": self._record.engine,
            "faults": faults,
        }


def _check_target(target: Path, partial: Path) -> None:
    """Raises `SetupError`, before the long work, if the file cannot be created."""
    if target.exists():
        raise SetupError(f"{target} exists already: name a new file")
    try:
        partial.unlink(missing_ok=True)
        partial.touch(mode=0o600)  # SQLite fills an empty file, and leaves its permissions
    except OSError as error:
        raise SetupError(f"{target} cannot be written ({error.strerror})") from error


def _put_in_place(partial: Path, target: Path) -> int:
    """Sync the finished copy and rename it; returns its size."""
    descriptor = os.open(partial, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    partial.rename(target)
    sync_directory(target.parent)
    return target.stat().st_size
