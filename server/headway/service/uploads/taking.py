"""Giving uploads to a job: all the named ones to one job, once, whatever happens in between.

The bytes are linked into the job's directory, not moved, and before that the upload says which job is to have them.
After a crash it is used up if that job was recorded; otherwise it can be named again.
"""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from ...domain.jobs import UploadedFile
from ...loops import uncancellable
from ...ports.files import UploadFiles, Uploads
from ...ports.reservations import Reservations
from .kept import KeptUpload


class Keeper(Protocol):
    """Where uploads are kept until a job has them."""

    def forget(self, upload: KeptUpload) -> None:
        """Know it no longer."""
        ...

    async def delete(self, upload: KeptUpload) -> None:
        """Forget it, and delete its files. What cannot be deleted is tried again."""
        ...


class TakenUploads:
    """Uploads that a submission names, by its fields. Nobody else can use them until it is accepted or refused."""

    def __init__(
        self,
        named: Mapping[str, KeptUpload],
        keeper: Keeper,
        folder: UploadFiles,
        reservations: Reservations,
    ) -> None:
        """Their locks are held already, and released here."""
        self._named = dict(named)
        self._keeper = keeper
        self._folder = folder
        self._reservations = reservations

    @property
    def files(self) -> dict[str, UploadedFile]:
        """What the job's record says of each, by its field."""
        return {
            field: UploadedFile(
                field, upload.about.filename or field, upload.about.content_type, upload.about.length_bytes
            )
            for field, upload in self._named.items()
        }

    def place(self, files: Uploads, incoming: Path | None, job_id: str) -> None:
        """Make them the job's inputs, durably, beside the files that came with the submission. Blocks."""
        own = files.new_incoming() if incoming is None else incoming
        try:
            for field, upload in self._named.items():
                self._folder.describe(replace(upload.about, job_id=job_id))
                self._folder.link(upload.about.id, own / field)
            files.accept_incoming(own, job_id)
        except OSError:
            if incoming is None:
                shutil.rmtree(own, ignore_errors=True)
            raise

    def hand_over(self) -> None:
        """The job's record is about to count the bytes, in the same turn."""
        for upload in self._named.values():
            upload.reservation.release()

    async def used(self) -> None:
        """The job is recorded: delete the uploads."""
        for upload in self._named.values():
            self._keeper.forget(upload)
        try:
            for upload in self._named.values():
                await uncancellable(self._keeper.delete(upload))
        finally:
            self._release()

    def give_back(self) -> None:
        """There is no job: they can be used again. That they are marked for it does no harm: it will never be there."""
        for upload in self._named.values():
            about = upload.about
            upload.reservation.release()
            upload.reservation = self._reservations.reserve(
                about.owner, about.key_id, about.length_bytes, checked=False
            )
        self._release()

    def leave(self) -> None:
        """It is not known whether the job was recorded. The next start finds out; until then nobody can use them."""
        for upload in self._named.values():
            self._keeper.forget(upload)
        self._release()

    def _release(self) -> None:
        for upload in self._named.values():
            upload.lock.release()
        self._named = {}
