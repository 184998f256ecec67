"""`Retention` with a real store and directory: files are deleted after their records."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from headway.backends.bells import LocalHub
from headway.backends.sqlite.record import SqliteRecord
from headway.domain.deliveries import Delivered, Webhook
from headway.domain.idempotency import IdempotencyKey
from headway.domain.ids import JobIds
from headway.domain.jobs import Job, NewJob
from headway.domain.outcomes import Completed
from headway.domain.progress import Progress
from headway.files.data_directory import DataDirectory
from headway.loops import Loops
from headway.operating import retention
from headway.operating.retention import EXPIRE_BATCH, Retention
from headway.ports.events import Bell
from headway.ports.jobs import FreeSlots, JobStore
from headway.ports.outbox import Limits
from structlog.testing import capture_logs

from tests.conformance.backends import BODY_OF
from tests.support.nobody import as_nobody, give_to_nobody


@dataclass
class Rooms:
    record: SqliteRecord
    hub: LocalHub
    files: DataDirectory
    retention: Retention

    @property
    def store(self) -> JobStore:
        return self.record.store

    async def ended_job(self, retain_s: float) -> Job:
        now = datetime.now(UTC)
        new = NewJob(
            id=JobIds().new(now)[0],
            owner="local",
            type="report",
            input_json="{}",
            created_at=now,
            run_at=now,
            retain_s=retain_s,
        )
        await self.store.insert(new)
        (claim,) = (await self.store.claim([FreeSlots(1, {"report": 1})], now)).claims
        self.files.job(new.id).mkdir()
        (self.files.job(new.id) / "file").write_text("x")
        return await self.store.finish(claim.job, Completed("1"), Progress(), [], now)


@asynccontextmanager
async def opened(directory: Path) -> AsyncIterator[Rooms]:
    hub, files = LocalHub(), DataDirectory.open(str(directory))
    record = await SqliteRecord.open(files.database, hub, max_queued=1_000, body_of=BODY_OF)
    backend = record.backend
    retention = Retention(backend, files, 86_400)
    rooms = Rooms(record, hub, files, retention)
    try:
        yield rooms
    finally:
        await rooms.retention.stop()
        await record.close()
        files.close()


@pytest.fixture
async def rooms(tmp_path: Path) -> AsyncIterator[Rooms]:
    async with opened(tmp_path) as made:
        yield made


async def gone(path: Path) -> None:
    """Wait for what the loop of files does."""
    async with asyncio.timeout(10):
        while path.exists():  # noqa: ASYNC110, ASYNC240 - there is no event for a directory that goes
            await asyncio.sleep(0.005)


async def test_an_expired_jobs_record_and_files_are_deleted(rooms: Rooms) -> None:
    expired, kept = await rooms.ended_job(0), await rooms.ended_job(1_000)
    await rooms.retention.start(Loops())
    await gone(rooms.files.job(expired.id))
    assert await rooms.store.existing([expired.id, kept.id]) == {kept.id}
    assert rooms.files.job(kept.id).exists()


async def test_expired_idempotency_keys_are_deleted(rooms: Rooms) -> None:
    """Batch after batch, without a pause between them."""
    now = datetime.now(UTC)
    ids = JobIds()
    for number in range(2 * EXPIRE_BATCH + 1):
        job_id, created_at = ids.new(now)
        new = NewJob(job_id, "local", "report", "{}", created_at, created_at, 1_000)
        await rooms.store.insert(
            new, key=IdempotencyKey(new.owner, str(number), "f", now - timedelta(seconds=number % 2))
        )
    kept = NewJob(ids.new(now)[0], "local", "report", "{}", now, now, 1_000)
    await rooms.store.insert(kept, key=IdempotencyKey(kept.owner, "kept", "f", now + timedelta(hours=1)))
    await rooms.retention.start(Loops())
    async with asyncio.timeout(10):
        while await rooms.store.first_with_key("local", "0", now - timedelta(hours=1)):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        while await rooms.store.first_with_key("local", "400", now - timedelta(hours=1)):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    assert await rooms.store.first_with_key("local", "kept", now) is not None


async def test_deliveries_are_deleted_a_week_after_their_end(rooms: Rooms) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=8)
    outbox = rooms.record.outbox
    job_id, _ = JobIds().new(long_ago)
    webhook = Webhook("https://receiver.example/")
    new = NewJob(job_id, "local", "report", "{}", long_ago, long_ago, 1_000_000, webhook=webhook)
    await rooms.store.insert(new)
    await rooms.store.cancel("local", job_id, long_ago)
    (message,) = (await outbox.take(long_ago, Limits(10, 10, 10), 60)).messages
    await outbox.record(message.delivery, Delivered(200), long_ago)
    await rooms.retention.start(Loops())
    async with asyncio.timeout(10):
        while await outbox.of_job(job_id, 10):  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_a_purged_jobs_files_are_deleted(rooms: Rooms) -> None:
    job = await rooms.ended_job(1_000)
    await rooms.retention.start(Loops())
    await rooms.store.delete("local", job.id, datetime.now(UTC))
    await gone(rooms.files.job(job.id))


async def test_a_deletion_right_after_the_start_is_not_missed(rooms: Rooms) -> None:
    """Recovery comes right then, before the loops have had a turn."""
    job = await rooms.ended_job(1_000)
    await rooms.retention.start(Loops())
    rooms.hub.ring(Bell.DELETED, job.id)
    await gone(rooms.files.job(job.id))


async def test_uploads_that_were_never_accepted_are_deleted_at_start(rooms: Rooms) -> None:
    upload = rooms.files.new_incoming()
    await rooms.retention.start(Loops())
    assert not upload.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can leave files that others cannot delete")
async def test_files_that_cannot_be_deleted_are_tried_again(rooms: Rooms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "RETRY_EVERY_S", 0.005)
    job = await rooms.ended_job(1_000)
    own = rooms.files.job(job.id)
    (own / "by-root").mkdir(mode=0o755)
    (own / "by-root" / "file").write_text("x")
    give_to_nobody(rooms.files.root / "jobs")
    for left in (own / "by-root", own / "by-root" / "file"):
        os.chown(left, 0, -1)
    await rooms.retention.start(Loops())
    with as_nobody(), capture_logs() as log:
        await rooms.store.delete("local", job.id, datetime.now(UTC))
        async with asyncio.timeout(10):
            while len(log) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
    assert {line["left"] for line in log} == {f"jobs/{job.id}/by-root/file"}
    await gone(own)
