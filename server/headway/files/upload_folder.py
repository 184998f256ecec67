"""Resumable uploads on disk, until a job takes their bytes.

uploads/<id>/about.json  what is known of the upload
uploads/<id>/bytes       what has arrived: the size of this file is the offset
uploads/<id>/unsynced    is there while some of it may not be durable
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Self

import structlog
from pydantic import TypeAdapter

from ..domain.ids import first_id_at_ms, is_job_id
from ..domain.instants import to_ms
from ..domain.uploads import KEPT, AnnouncedUpload
from ..syncing import sync_directory, write_all
from .opening import DIRECTORY
from .removing import remove

SYNC_EVERY_BYTES = 32 * 1024 * 1024
"""So that the last sync, which the client waits for, is short however large the part is."""

UNSYNCED = "unsynced"
"""A crash leaves this file, so the next start knows which uploads to sync. It need not be durable itself: if the power
fails, it may be lost, but so is whatever was not durable of the upload.
"""

_ABOUT = TypeAdapter(AnnouncedUpload)

log = structlog.get_logger(__name__)


class UploadFolder:
    """The embedded `UploadFiles`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def create(self, upload: AnnouncedUpload) -> None:
        own = self._root / upload.id
        own.mkdir(mode=0o700)
        try:
            (own / "bytes").touch(mode=0o600)
            self.describe(upload)
            sync_directory(self._root)
        except OSError:
            with suppress(OSError):
                self.remove(upload.id)
            raise

    def describe(self, upload: AnnouncedUpload) -> None:
        own = self._root / upload.id
        new = own / "about.json.new"
        with new.open("wb") as file:
            file.write(_ABOUT.dump_json(upload))
            file.flush()
            os.fsync(file.fileno())
        new.replace(own / "about.json")
        sync_directory(own)

    def append(self, upload_id: str, offset: int) -> "Appending":
        return Appending(self._root / upload_id, offset)

    def link(self, upload_id: str, target: Path) -> None:
        os.link(self._root / upload_id / "bytes", target, follow_symlinks=False)

    def remove(self, upload_id: str) -> None:
        within = os.open(self._root, DIRECTORY)
        try:
            remove(upload_id, within)
        finally:
            os.close(within)

    def count(self) -> int:
        return len(os.listdir(self._root))  # noqa: PTH208 - names only

    def load(self, now: datetime) -> Sequence[tuple[AnnouncedUpload, int]]:
        loaded = [self._loaded(name, now) for name in sorted(os.listdir(self._root))]  # noqa: PTH208 - names only
        return [upload for upload in loaded if upload is not None]

    def _loaded(self, name: str, now: datetime) -> tuple[AnnouncedUpload, int] | None:
        """The upload, if it can be read. What is none is deleted; one that cannot be read now may be whole."""
        try:
            upload = self._read(name)
        except (OSError, ValueError) as error:
            if name >= first_id_at_ms(to_ms(now - KEPT)):
                reason = error.strerror if isinstance(error, OSError) else "its description is damaged"
                log.warning("an upload cannot be read now and is kept", upload=name, reason=reason)
                return None
            upload = None  # it has expired
        if upload is None:
            log.warning("an upload that cannot be read is deleted", upload=name[:100])
            with suppress(OSError):
                self.remove(name)
        return upload

    def _read(self, name: str) -> tuple[AnnouncedUpload, int] | None:
        """The upload, and how many of its bytes are durable; `None` if there is none, as after a crash in the middle of
        its creation or deletion. Raises `OSError` and `ValueError` if there may be one.
        """
        if not is_job_id(name):
            return None
        try:
            upload = _ABOUT.validate_json((self._root / name / "about.json").read_bytes())
            received_bytes = (self._root / name / "bytes").stat().st_size
            if (self._root / name / UNSYNCED).exists():
                with self.append(name, received_bytes) as part:
                    received_bytes = part.sync()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return None
        return (upload, received_bytes) if upload.id == name and received_bytes <= upload.length_bytes else None


class Appending:
    """The embedded `Part`."""

    def __init__(self, own: Path, offset: int) -> None:
        self._mark = own / UNSYNCED
        self._file = (own / "bytes").open("r+b", 0)
        self._unsynced_bytes = 0
        try:
            if self._file.seek(0, os.SEEK_END) != offset:
                self._file.truncate(offset)
                self._file.seek(offset)
        except OSError:
            self._file.close()
            raise

    def write(self, data: bytes | bytearray) -> None:
        if not self._unsynced_bytes:
            self._mark.touch(mode=0o600)
        write_all(self._file, data)
        self._unsynced_bytes += len(data)
        if self._unsynced_bytes >= SYNC_EVERY_BYTES:
            self.sync()

    def sync(self) -> int:
        os.fsync(self._file.fileno())
        self._unsynced_bytes = 0
        self._mark.unlink(missing_ok=True)
        return os.fstat(self._file.fileno()).st_size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
