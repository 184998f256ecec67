"""Accepting a job: its files first, then its row; with an idempotency key, once."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import closing
from typing import Any, NamedTuple, TypeVar

from ..clock import utc_now
from ..domain.access import Caller
from ..domain.idempotency import KEPT, FirstSubmission, IdempotencyKey
from ..domain.jobs import Job, NewJob
from ..errors import InvalidError, StoreUnavailableError
from ..ports.files import Uploads
from ..ports.jobs import Hold, Submissions
from .idempotency import first_job
from .reading import Reading
from .uploads.taking import TakenUploads

Recorded = TypeVar("Recorded")


class Prepared(NamedTuple):
    """A job that is ready to be recorded. `place_files` puts its inputs where the job finds them; it blocks.

    `held`: the room in quotas that its uploads hold. It is released when the record takes over, in the same turn.
    `taken`: the resumable uploads among its inputs.
    """

    new: NewJob
    max_queued: int | None
    place_files: Callable[[], None] | None
    held: Hold | None = None
    taken: TakenUploads | None = None


class Accepted(NamedTuple):
    """The job that a submission led to; `replayed`: an earlier submission with the same key had made it."""

    job: Job
    replayed: bool = False


class Accepting:
    """Records prepared jobs. An error leaves neither a row nor files behind."""

    def __init__(self, store: Submissions, files: Uploads, reading: Reading) -> None:
        self._store = store
        self._files = files
        self._reading = reading

    async def accept(self, prepared: Prepared) -> Accepted:
        """Record a job. Raises what `Submissions.insert` raises."""
        insert = self._store.insert(prepared.new, prepared.max_queued)
        return Accepted(await (insert if prepared.place_files is None else self._with_files(prepared, insert)))

    async def accept_once(
        self,
        caller: Caller,
        key: str,
        fingerprint: str,
        prepare: Callable[[], Awaitable[Prepared]],
        first: FirstSubmission | None = None,
    ) -> Accepted:
        """The same with an idempotency key: the first job, if there is one; otherwise the one that `prepare` makes.

        `first`: what `first_with` returned when the request began. It counts even if the key has expired meanwhile.

        A repetition is answered even where a new job would be refused: queue or disk full, a type that can no longer
        run. Raises `KeyReusedError` and `JobGoneError` as well.
        """
        first = first or await self.first_with(caller, key)
        if first is None:
            try:
                prepared = await prepare()
            except InvalidError:  # another request with this key may have taken the upload that both name
                first = await self.first_with(caller, key)
                if first is None:
                    raise
            else:
                recorded = await self._record_once(caller, key, fingerprint, prepared)
                if isinstance(recorded, Job):
                    return Accepted(recorded)
                first = recorded
        return Accepted(await first_job(self._reading, caller, first, fingerprint, utc_now()), replayed=True)

    async def place_files(self, prepared: Prepared) -> None:
        """Put the files of a job where it finds them. Raises `StoreUnavailableError`, and leaves none behind then."""
        if prepared.place_files is not None:
            try:
                await self._place(prepared.place_files)
            except StoreUnavailableError:
                await self.remove_files(prepared)
                raise

    async def remove_files(self, prepared: Prepared) -> None:
        """Remove the files of a job that was not recorded. Its resumable uploads are as they were."""
        if prepared.place_files is not None:
            await asyncio.to_thread(self._files.remove_job, prepared.new.id)
        if prepared.taken is not None:
            prepared.taken.give_back()

    async def first_with(self, caller: Caller, key: str) -> FirstSubmission | None:
        """What the caller's key already stands for."""
        return await self._store.first_with_key(caller.owner, key, utc_now())

    async def _record_once(
        self, caller: Caller, key: str, fingerprint: str, prepared: Prepared
    ) -> Job | FirstSubmission:
        recorded_key = IdempotencyKey(caller.owner, key, fingerprint, prepared.new.created_at + KEPT)
        insert = self._store.insert(prepared.new, prepared.max_queued, recorded_key)
        recorded = await self._with_files(prepared, insert)
        if not isinstance(recorded, Job):  # another request with this key came first
            await self.remove_files(prepared)
        return recorded

    async def _with_files(self, prepared: Prepared, insert: Coroutine[Any, Any, Recorded]) -> Recorded:
        """Place the job's files, then await `insert`. If either raises, the files are removed."""
        if prepared.place_files is None:
            return await insert
        try:
            with closing(insert):
                placing = asyncio.create_task(self._place(prepared.place_files))
                try:
                    await asyncio.shield(placing)
                except asyncio.CancelledError:  # the thread goes on nevertheless
                    await asyncio.gather(placing, return_exceptions=True)
                    await self.remove_files(prepared)
                    raise
                if prepared.held is not None:
                    prepared.held.release()
                recorded = await (insert if prepared.taken is None else _handing_over(prepared.taken, insert))
        except Exception:  # not if cancelled: the insert is carried out nevertheless
            await self.remove_files(prepared)
            raise
        if prepared.taken is not None and isinstance(recorded, Job):
            await prepared.taken.used()
        return recorded

    async def _place(self, place_files: Callable[[], None]) -> None:
        try:
            await asyncio.to_thread(place_files)
        except OSError as error:
            raise StoreUnavailableError(f"the files cannot be stored: {error.strerror}") from error


async def _handing_over(taken: TakenUploads, insert: Coroutine[Any, Any, Recorded]) -> Recorded:
    taken.hand_over()
    try:
        return await insert
    except asyncio.CancelledError:
        taken.leave()
        raise
