"""Resumable uploads without HTTP: an upload belongs to one job, or to nobody, whatever happens in between."""

import asyncio
import errno
import os
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from headway.clock import utc_now
from headway.domain.access import LOCAL_CALLER, Caller
from headway.domain.uploads import KEPT
from headway.errors import (
    InvalidError,
    QueueFullError,
    StorageQuotaExceededError,
    TooManyUploadsError,
    UploadBusyError,
    UploadNotFoundError,
    UploadSpaceError,
)
from headway.ports.files import Part
from headway.quotas import NO_QUOTA, Quota
from headway.service.submission import Submission
from headway.service.uploads import resumable
from headway.service.uploads.kept import KeptUpload
from headway.service.uploads.resumable import Announcement, ResumableUploads

from tests.service.conftest import MAX_QUEUED, MAX_UPLOAD_BYTES, Rooms

TEXT = b"hello"


def pieces(*data: bytes) -> Callable[[int], Awaitable[bytes]]:
    """What a body's `read` returns."""
    left = iter(data)

    async def read(_size: int) -> bytes:
        return next(left, b"")

    return read


def anything_fits(_more_bytes: int) -> None:
    """There is room."""


async def announced(rooms: Rooms, length_bytes: int = len(TEXT), caller: Caller = LOCAL_CALLER) -> KeptUpload:
    return await rooms.service.uploads.create(caller, Announcement(length_bytes, "a.txt", "text/plain", ""))


async def uploaded(rooms: Rooms, data: bytes = TEXT) -> str:
    """The id of a complete upload."""
    upload = await announced(rooms, len(data))
    async with rooms.service.uploads.using(LOCAL_CALLER, upload.about.id) as mine:
        await rooms.service.uploads.receive(mine, 0, pieces(data), anything_fits)
    return upload.about.id


def naming(upload_id: str) -> Submission:
    return Submission("scanning", {"document": upload_id})


def used_bytes(rooms: Rooms) -> int:
    return rooms.store.account("local").used.bytes


async def restarted(rooms: Rooms) -> ResumableUploads:
    """What another server on the same data directory makes of the uploads. The first one's count goes on."""
    audit, ids = rooms.service.uploads._audit, rooms.service.uploads._ids
    again = ResumableUploads(rooms.store, rooms.files.uploads, audit, ids, max_bytes=MAX_UPLOAD_BYTES)
    await again.open()
    return again


async def can_be_taken(uploads: ResumableUploads, upload_id: str) -> bool:
    try:
        taken = await uploads.take(LOCAL_CALLER, {"document": upload_id}, "")
    except InvalidError:
        return False
    taken.give_back()
    return True


async def test_a_job_that_is_refused_leaves_its_upload_as_it_was(rooms: Rooms) -> None:
    upload_id = await uploaded(rooms)
    for _ in range(MAX_QUEUED):
        await rooms.submit()
    before = used_bytes(rooms)
    for key in (None, "a key"):
        with pytest.raises(QueueFullError):
            await rooms.service.submitting.submit(LOCAL_CALLER, naming(upload_id), key)
        assert used_bytes(rooms) == before
        assert list(rooms.files.job_ids()) == []
    assert await can_be_taken(rooms.service.uploads, upload_id)
    assert await can_be_taken(await restarted(rooms), upload_id)


async def test_of_many_submissions_that_name_an_upload_one_gets_it(rooms: Rooms) -> None:
    upload_id = await uploaded(rooms)
    submissions = [rooms.service.submitting.submit(LOCAL_CALLER, naming(upload_id)) for _ in range(4)]
    outcomes = await asyncio.gather(*submissions, return_exceptions=True)
    (accepted,) = [each for each in outcomes if not isinstance(each, BaseException)]
    assert sum(isinstance(each, InvalidError) for each in outcomes) == 3
    assert rooms.files.input(accepted.job.id, "document").read_bytes() == TEXT
    assert list((rooms.files.root / "uploads").iterdir()) == []


async def test_of_many_submissions_with_one_key_all_find_the_job_that_took_the_upload(rooms: Rooms) -> None:
    upload_id = await uploaded(rooms)
    submissions = [rooms.service.submitting.submit(LOCAL_CALLER, naming(upload_id), "a key") for _ in range(4)]
    outcomes = await asyncio.gather(*submissions)
    assert len({each.job.id for each in outcomes}) == 1
    assert sorted(each.replayed for each in outcomes) == [False, True, True, True]


async def test_a_job_counts_the_bytes_from_the_moment_that_the_upload_does_not(rooms: Rooms) -> None:
    of_job = len(TEXT) + len("{}")
    await rooms.backend.keys.set_owner_quota("local", Quota(bytes=of_job))
    upload_id = await uploaded(rooms)
    assert used_bytes(rooms) == len(TEXT)
    await rooms.service.submitting.submit(LOCAL_CALLER, naming(upload_id))
    assert used_bytes(rooms) == of_job


async def test_a_crash_before_the_job_was_recorded_leaves_the_upload(rooms: Rooms) -> None:
    upload_id = await uploaded(rooms)
    taken = await rooms.service.uploads.take(LOCAL_CALLER, {"document": upload_id}, "")
    job_id, _ = rooms.service.uploads._ids.new(utc_now())
    await asyncio.to_thread(taken.place, rooms.files, None, job_id)
    assert rooms.files.input(job_id, "document").read_bytes() == TEXT
    again = await restarted(rooms)
    rooms.files.remove_job(job_id)  # which is orphaned
    assert await can_be_taken(again, upload_id)
    async with again.using(LOCAL_CALLER, upload_id) as upload:
        assert (upload.received_bytes, upload.about.job_id) == (len(TEXT), None)


async def test_a_start_on_a_full_disk_finds_what_a_job_did_not_take_after_all(
    rooms: Rooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_id = await uploaded(rooms)
    taken = await rooms.service.uploads.take(LOCAL_CALLER, {"document": upload_id}, "")
    await asyncio.to_thread(taken.place, rooms.files, None, rooms.service.uploads._ids.new(utc_now())[0])

    def full(_about: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(rooms.files.uploads, "describe", full)
        assert await can_be_taken(await restarted(rooms), upload_id)
    assert await can_be_taken(await restarted(rooms), upload_id)


async def test_a_crash_after_the_job_was_recorded_does_not_give_the_upload_to_another(
    rooms: Rooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_id = await uploaded(rooms)
    with monkeypatch.context() as killed:
        killed.setattr(rooms.files.uploads, "remove", lambda _upload_id: None)
        job = (await rooms.service.submitting.submit(LOCAL_CALLER, naming(upload_id))).job
    assert (rooms.files.root / "uploads" / upload_id).exists()
    assert not await can_be_taken(await restarted(rooms), upload_id)
    assert list((rooms.files.root / "uploads").iterdir()) == []
    assert rooms.files.input(job.id, "document").read_bytes() == TEXT


async def test_a_submission_that_is_cancelled_while_it_waits_for_the_disk_leaves_its_upload(
    rooms: Rooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_id = await uploaded(rooms)
    placing, go_on = asyncio.Event(), asyncio.Event()
    loop, accept = asyncio.get_running_loop(), rooms.files.accept_incoming

    def accept_late(incoming: Path, job_id: str) -> None:
        loop.call_soon_threadsafe(placing.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result()
        accept(incoming, job_id)

    monkeypatch.setattr(rooms.files, "accept_incoming", accept_late)
    submitting = asyncio.create_task(rooms.service.submitting.submit(LOCAL_CALLER, naming(upload_id)))
    await placing.wait()
    submitting.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await submitting
    assert list(rooms.files.job_ids()) == []
    assert await can_be_taken(rooms.service.uploads, upload_id)


@pytest.mark.parametrize("recorded", [True, False])
async def test_a_submission_that_is_cancelled_while_it_is_recorded_is_found_out_at_the_next_start(
    rooms: Rooms, monkeypatch: pytest.MonkeyPatch, recorded: bool
) -> None:
    upload_id, inserting, insert = await uploaded(rooms), asyncio.Event(), rooms.store.insert

    async def insert_and_hang(*arguments: Any) -> None:
        if recorded:
            await insert(*arguments)
        inserting.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(rooms.store, "insert", insert_and_hang)
    submitting = asyncio.create_task(rooms.service.submitting.submit(LOCAL_CALLER, naming(upload_id)))
    await inserting.wait()
    submitting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await submitting
    assert not await can_be_taken(rooms.service.uploads, upload_id)
    assert await can_be_taken(await restarted(rooms), upload_id) is not recorded


async def test_an_upload_that_cannot_be_deleted_is_used_up_nevertheless_and_deleted_later(
    rooms: Rooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_id = await uploaded(rooms)

    def refuse(_upload_id: str) -> None:
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as patched:
        patched.setattr(rooms.files.uploads, "remove", refuse)
        await rooms.service.submitting.submit(LOCAL_CALLER, naming(upload_id))
    assert not await can_be_taken(rooms.service.uploads, upload_id)
    await rooms.service.uploads.expire(utc_now())
    assert list((rooms.files.root / "uploads").iterdir()) == []


async def test_uploads_expire_after_a_day_and_free_their_bytes(rooms: Rooms) -> None:
    complete, unfinished = await uploaded(rooms), (await announced(rooms, 1000)).about
    await rooms.service.uploads.expire(unfinished.created_at + KEPT - timedelta(seconds=1))
    async with rooms.service.uploads.using(LOCAL_CALLER, unfinished.id):
        assert used_bytes(rooms) == 1000 + len(TEXT)
    await rooms.service.uploads.expire(unfinished.created_at + KEPT)
    for upload_id in (complete, unfinished.id):
        with pytest.raises(UploadNotFoundError):
            async with rooms.service.uploads.using(LOCAL_CALLER, upload_id):
                pass
    assert used_bytes(rooms) == 0
    assert list((rooms.files.root / "uploads").iterdir()) == []


async def test_an_upload_that_expires_while_a_part_arrives_ends_that_part(rooms: Rooms) -> None:
    upload, interrupted = await announced(rooms), asyncio.Event()
    async with rooms.service.uploads.using(LOCAL_CALLER, upload.about.id, interrupted.set):
        expiring = asyncio.create_task(rooms.service.uploads.expire(upload.about.expires_at))
        await interrupted.wait()
        assert not expiring.done()
    await expiring
    assert used_bytes(rooms) == 0


async def test_an_owner_has_a_limit_of_uploads(rooms: Rooms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resumable, "MOST_PER_OWNER", 2)
    first = await announced(rooms)
    await announced(rooms)
    with pytest.raises(TooManyUploadsError):
        await announced(rooms)
    await announced(rooms, caller=Caller("somebody", "somebody"))
    await rooms.service.uploads.end(LOCAL_CALLER, first.about.id)
    await announced(rooms)


async def test_an_announced_length_is_held_in_the_quota_over_a_restart(rooms: Rooms) -> None:
    keys = rooms.backend.keys
    await keys.set_owner_quota("local", Quota(bytes=100))
    upload = await announced(rooms, 60)
    with pytest.raises(StorageQuotaExceededError):
        await announced(rooms, 41)
    assert used_bytes(rooms) == 60
    upload.reservation.release()  # as the end of the process does
    await keys.set_owner_quota("local", Quota(bytes=50))
    await restarted(rooms)
    assert used_bytes(rooms) == 60, "what is there counts, although it no longer fits"
    await keys.set_owner_quota("local", NO_QUOTA)


async def test_a_part_that_does_not_fit_on_the_disk_keeps_what_did(
    rooms: Rooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload, append = await announced(rooms, 10), rooms.files.uploads.append

    def full_after_two_bytes(upload_id: str, offset: int) -> Part:
        part = append(upload_id, offset)
        write = part.write

        def fall_short(data: bytes | bytearray) -> None:
            write(data[:2])
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(part, "write", fall_short)
        return part

    async with rooms.service.uploads.using(LOCAL_CALLER, upload.about.id) as mine:
        with monkeypatch.context() as patched:
            patched.setattr(rooms.files.uploads, "append", full_after_two_bytes)
            with pytest.raises(UploadSpaceError):
                await rooms.service.uploads.receive(mine, 0, pieces(b"0123456789"), anything_fits)
        assert mine.received_bytes == 2
        await rooms.service.uploads.receive(mine, 2, pieces(b"23456789"), anything_fits)
    assert (rooms.files.root / "uploads" / upload.about.id / "bytes").read_bytes() == b"0123456789"


async def test_a_part_whose_sync_failed_is_not_acknowledged(rooms: Rooms, monkeypatch: pytest.MonkeyPatch) -> None:
    upload = await announced(rooms, 9)

    def fail(_descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    async with rooms.service.uploads.using(LOCAL_CALLER, upload.about.id) as mine:
        with monkeypatch.context() as patched:
            patched.setattr("os.fsync", fail)
            with pytest.raises(Exception, match="cannot be stored"):
                await rooms.service.uploads.receive(mine, 0, pieces(b"lost part"), anything_fits)
        assert mine.received_bytes == 0
        await rooms.service.uploads.receive(mine, 0, pieces(b"good"), anything_fits)
    assert (rooms.files.root / "uploads" / upload.about.id / "bytes").read_bytes() == b"good"


async def test_a_request_that_waits_too_long_for_an_upload_is_refused_as_busy(
    rooms: Rooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resumable, "LONGEST_WAIT_S", 0.0)
    upload = await announced(rooms)
    async with rooms.service.uploads.using(LOCAL_CALLER, upload.about.id):
        with pytest.raises(UploadBusyError):
            await rooms.service.uploads.end(LOCAL_CALLER, upload.about.id)
    await rooms.service.uploads.end(LOCAL_CALLER, upload.about.id)


async def test_the_latest_of_several_requests_gets_the_upload(rooms: Rooms) -> None:
    upload, interrupted = await announced(rooms), list[str]()

    async def use(name: str) -> None:
        async with rooms.service.uploads.using(LOCAL_CALLER, upload.about.id, lambda: interrupted.append(name)):
            pass

    async with rooms.service.uploads.using(LOCAL_CALLER, upload.about.id, lambda: interrupted.append("first")):
        waiting = [asyncio.create_task(use(name)) for name in ("second", "third")]
        await asyncio.sleep(0)
    await asyncio.gather(*waiting)
    assert interrupted == ["first", "first", "second"]


async def test_what_a_crash_left_of_an_announcement_is_deleted(rooms: Rooms) -> None:
    folder = rooms.files.root / "uploads"
    whole = await uploaded(rooms)
    cut_short, wrong, larger = [(await announced(rooms)).about.id for _ in range(3)]
    (folder / cut_short / "about.json").unlink()
    (folder / wrong / "about.json").write_bytes((folder / whole / "about.json").read_bytes())
    (folder / larger / "bytes").write_bytes(b"more than was announced")
    (folder / "something else").mkdir()
    await restarted(rooms)
    assert [each.name for each in folder.iterdir()] == [whole]


async def test_a_start_syncs_only_the_upload_whose_part_a_crash_has_cut(
    rooms: Rooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, whole, half = rooms.files.root / "uploads", await uploaded(rooms), (await announced(rooms)).about.id
    with rooms.files.uploads.append(half, 0) as crashed:
        crashed.write(b"hel")
    synced = list[int]()
    monkeypatch.setattr("os.fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    of_half, changed_at = (folder / half / "bytes").stat().st_ino, (folder / whole / "bytes").stat().st_ctime_ns
    assert {(about.id, size) for about, size in rooms.files.uploads.load(utc_now())} == {(whole, len(TEXT)), (half, 3)}
    assert synced == [of_half]
    assert (folder / whole / "bytes").stat().st_ctime_ns == changed_at
    rooms.files.uploads.load(utc_now())
    assert synced == [of_half], "it is durable now"
