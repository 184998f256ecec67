"""Resumable uploads: announced, received in parts, read by one job, or deleted after a day."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple, Protocol

import structlog

from ...clock import utc_now
from ...domain.access import Caller, may_see
from ...domain.audit import SERVER, Action, Entry
from ...domain.ids import JobIds
from ...domain.uploads import MOST_PER_OWNER, AnnouncedUpload
from ...errors import (
    InvalidError,
    TooManyUploadsError,
    UploadBusyError,
    UploadNotFoundError,
    UploadOffsetError,
)
from ...loops import uncancellable
from ...ports.audit import AuditTrail
from ...ports.files import Part, UploadFiles
from ...ports.housekeeping import Housekeeping
from ...ports.reservations import Reservations
from .kept import KeptUpload, ignore, writing
from .taking import TakenUploads

LONGEST_WAIT_S = 10.0
"""For the request that has the upload: it is asked to end, and has only to sync what has arrived."""
BUSY_RETRY_S = 5
TOO_MANY_RETRY_S = 60
READ_BYTES = 64 * 1024
WRITE_BYTES = 128 * 1024
"""What one upload holds in memory before it is written, apart from what its connection has buffered. A hundred of one
owner may be under way at once.
"""

NO_SUCH_UPLOAD, NAMED_TWICE = "names no upload of yours", "names an upload that another field names"

Read = Callable[[int], Awaitable[bytes]]

log = structlog.get_logger(__name__)


class Announcement(NamedTuple):
    """What a client says of a file before it sends it."""

    length_bytes: int
    filename: str
    content_type: str
    metadata: str


class Store(Reservations, Housekeeping, Protocol):
    """The part of the record that uploads need."""


class ResumableUploads:
    """All uploads that no job has taken yet. What is acknowledged of one is durable: its offset is the synced size."""

    def __init__(self, store: Store, folder: UploadFiles, audit: AuditTrail, ids: JobIds, *, max_bytes: int) -> None:
        """`max_bytes`: of the files of one submission, and so of one upload."""
        self._store = store
        self._folder = folder
        self._audit = audit
        self._ids = ids
        self.max_bytes = max_bytes
        self._kept: dict[str, KeptUpload] = {}  # the oldest first
        self._owned: Counter[str] = Counter()
        self._left: dict[str, None] = {}

    async def open(self) -> None:
        """Find the uploads of earlier runs. A job may have taken one when its server was killed."""
        loaded = await asyncio.to_thread(self._folder.load, utc_now())
        recorded = await self._store.existing([about.job_id for about, _ in loaded if about.job_id is not None])
        for about, received_bytes in loaded:
            if about.job_id in recorded:
                await self._delete_files(about.id)
                continue
            if about.job_id is not None:
                about = replace(about, job_id=None)  # noqa: PLW2901 - it was not taken after all
                with suppress(OSError):  # on a full disk, say: the next start finds out the same
                    await asyncio.to_thread(self._folder.describe, about)
            reservation = self._store.reserve(about.owner, about.key_id, about.length_bytes, checked=False)
            self._keep(KeptUpload(about, reservation, received_bytes))

    async def create(self, caller: Caller, announced: Announcement) -> KeptUpload:
        """Begin an upload: durable on return, and empty.

        Raises `TooManyUploadsError`, `StorageQuotaExceededError`, `UploadSpaceError` and `StoreUnavailableError`.
        """
        if self._owned[caller.owner] >= MOST_PER_OWNER:
            detail = f"The limit of {MOST_PER_OWNER:,} uploads that no job has taken is reached."
            raise TooManyUploadsError(detail, TOO_MANY_RETRY_S)
        upload_id, created_at = self._ids.new(utc_now())
        about = AnnouncedUpload(
            id=upload_id, owner=caller.owner, key_id=caller.key_id, created_at=created_at, **announced._asdict()
        )
        reservation = self._store.reserve(about.owner, about.key_id, about.length_bytes)
        upload = KeptUpload(about, reservation)
        self._keep(upload)
        async with upload.lock:
            try:
                with writing():
                    await uncancellable(asyncio.to_thread(self._folder.create, about))
                await self._note(caller, Action.CREATE_UPLOAD, about)
            except BaseException:
                await uncancellable(self.delete(upload))
                raise
        return upload

    @asynccontextmanager
    async def using(
        self, caller: Caller, upload_id: str, interrupt: Callable[[], None] = ignore
    ) -> AsyncIterator[KeptUpload]:
        """Take over the upload from whichever request has it. Within the block `interrupt` is called if one wants it.

        Raises `UploadNotFoundError`, and `UploadBusyError` if the other request does not end in time.
        """
        upload = self._found(caller, upload_id)
        upload.interrupt()
        await self._acquire(upload)
        try:
            if self._kept.get(upload_id) is not upload:  # meanwhile
                raise _unknown()
            upload.interrupt = interrupt
            if upload.waiting:
                interrupt()
            yield upload
        finally:
            upload.interrupt = ignore
            upload.lock.release()

    async def receive(self, upload: KeptUpload, offset: int, read: Read, room: Callable[[int], None]) -> None:
        """Append what `read` returns until it returns nothing. What has arrived is kept, whatever is raised.

        `room` is given the size of each piece before it is written. For use within `using`. Raises `UploadOffsetError`,
        `UploadSpaceError`, `StoreUnavailableError`, and what `read` and `room` raise.
        """
        if offset != upload.received_bytes:
            raise UploadOffsetError(upload.received_bytes)
        with writing():
            part = await uncancellable(asyncio.to_thread(self._folder.append, upload.about.id, offset))
        with part:
            try:
                await self._append(part, read, room)
            finally:
                with writing():
                    upload.received_bytes = await uncancellable(asyncio.to_thread(part.sync))

    async def _append(self, part: Part, read: Read, room: Callable[[int], None]) -> None:
        pending = bytearray()
        try:
            while chunk := await read(READ_BYTES):
                pending += chunk
                if len(pending) >= WRITE_BYTES:
                    piece, pending = pending, bytearray()
                    await self._write(part, piece, room)
        finally:
            if pending:
                await self._write(part, pending, room)

    async def _write(self, part: Part, piece: bytearray, room: Callable[[int], None]) -> None:
        room(len(piece))
        with writing():
            await uncancellable(asyncio.to_thread(part.write, piece))

    async def end(self, caller: Caller, upload_id: str) -> None:
        """Delete the upload. Raises like `using`, and `StoreUnavailableError`."""
        async with self.using(caller, upload_id) as upload:
            await self._note(caller, Action.DELETE_UPLOAD, upload.about)
            await uncancellable(self.delete(upload))

    async def expire(self, now: datetime) -> None:
        """Delete what has been kept for a day, and what could not be deleted before."""
        for upload_id in list(self._left):
            await self._delete_files(upload_id)
        expired = [upload for upload in self._kept.values() if upload.about.expires_at <= now]
        for upload in expired:
            upload.interrupt()
            try:
                await self._acquire(upload)
            except UploadBusyError:  # next time
                continue
            try:
                if self._kept.get(upload.about.id) is upload:
                    self._audit.note([_entry(Action.DELETE_UPLOAD, upload.about, now)])
                    await self.delete(upload)
            finally:
                upload.lock.release()

    async def take(self, caller: Caller, named: Mapping[str, str], pointer: str) -> TakenUploads:
        """The complete uploads of the caller's owner that a submission names by its fields, for one job.

        Raises `InvalidError` with pointers that begin with `pointer`, and `UploadBusyError`.
        """
        _check_once_each(named, pointer)
        async with AsyncExitStack() as stack:
            taken: dict[str, KeptUpload] = {}
            for field, upload_id in sorted(named.items(), key=lambda item: item[1]):  # two submissions, the same order
                upload = self._complete(caller, upload_id, f"{pointer}/{field}")
                await self._acquire(upload)
                stack.callback(upload.lock.release)
                taken[field] = self._complete(caller, upload_id, f"{pointer}/{field}")
            stack.pop_all()
        return TakenUploads(taken, self, self._folder, self._store)

    def _complete(self, caller: Caller, upload_id: str, pointer: str) -> KeptUpload:
        """The upload, if a job of the caller's owner can have it now. Raises `InvalidError`."""
        upload = self._kept.get(upload_id)
        if upload is None or upload.about.owner != caller.owner:
            raise InvalidError([(pointer, NO_SUCH_UPLOAD)])
        if upload.received_bytes < upload.about.length_bytes:
            detail = f"is incomplete: {upload.received_bytes:,} of {upload.about.length_bytes:,} bytes have arrived"
            raise InvalidError([(pointer, detail)])
        return upload

    def forget(self, upload: KeptUpload) -> None:
        if self._kept.get(upload.about.id) is upload:
            del self._kept[upload.about.id]
            self._owned[upload.about.owner] -= 1
            if not self._owned[upload.about.owner]:
                del self._owned[upload.about.owner]
        upload.reservation.release()

    async def delete(self, upload: KeptUpload) -> None:
        self.forget(upload)
        await self._delete_files(upload.about.id)

    async def _delete_files(self, upload_id: str) -> None:
        try:
            await asyncio.to_thread(self._folder.remove, upload_id)
        except OSError as error:
            self._left[upload_id] = None
            log.warning("an upload could not be deleted", upload=upload_id, reason=error.strerror)
        else:
            self._left.pop(upload_id, None)

    def _keep(self, upload: KeptUpload) -> None:
        self._kept[upload.about.id] = upload
        self._owned[upload.about.owner] += 1

    def _found(self, caller: Caller, upload_id: str) -> KeptUpload:
        upload = self._kept.get(upload_id)
        if upload is None or not may_see(caller.sees, upload.about.owner):
            raise _unknown()
        return upload

    async def _acquire(self, upload: KeptUpload) -> None:
        upload.waiting += 1
        try:
            async with asyncio.timeout(LONGEST_WAIT_S):
                await upload.lock.acquire()
        except TimeoutError:
            raise UploadBusyError("Another request has the upload.", BUSY_RETRY_S) from None
        finally:
            upload.waiting -= 1

    async def _note(self, caller: Caller, action: Action, about: AnnouncedUpload) -> None:
        if caller.actor is not None:
            entry = Entry(utc_now(), caller.actor, action, about.owner, about.id)
            await self._audit.append([entry])


def _entry(action: Action, about: AnnouncedUpload, at: datetime) -> Entry:
    return Entry(at, SERVER, action, about.owner, about.id)


def _unknown() -> UploadNotFoundError:
    return UploadNotFoundError("There is no such upload.")


def _check_once_each(named: Mapping[str, str], pointer: str) -> None:
    seen = set[str]()
    for field, upload_id in named.items():
        if upload_id in seen:
            raise InvalidError([(f"{pointer}/{field}", NAMED_TWICE)])
        seen.add(upload_id)
