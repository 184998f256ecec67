"""The service over a real record and a real data directory, without an engine and without HTTP."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from headway import Context, JobFailed, Upload, job
from headway.app.record import open_record
from headway.authoring.declaring import declared_as
from headway.authoring.job_types import Registry
from headway.backends.bells import LocalHub
from headway.clock import utc_now
from headway.domain.access import LOCAL_CALLER, Caller
from headway.domain.addresses import AllowList
from headway.domain.ids import JobIds
from headway.domain.jobs import Job, JobError, UploadedFile
from headway.domain.outcomes import Completed, Failed, Outcome
from headway.domain.progress import Progress
from headway.files.data_directory import DataDirectory
from headway.loops import Loops
from headway.metrics import Metrics
from headway.ports.backend import Backend
from headway.ports.jobs import FreeSlots, JobStore
from headway.running.remote.workers import Workers
from headway.service.options import SubmitOptions
from headway.service.service import Limits, Service
from headway.service.submission import Submission
from headway.settings import Settings
from headway.webhooks.outgoing import Outgoing
from headway.webhooks.prober import WebhookProber
from pydantic import BaseModel

MAX_INPUT_BYTES = 100_000
MAX_UPLOAD_BYTES = 1_000_000
MAX_QUEUED = 5
DONE = Completed('{"words":3}')
BROKEN = Failed(JobError(type="no-luck", title="No luck", detail="none at all", status=409))


class Text(BaseModel):
    words: int
    label: str = ""


class Document(BaseModel):
    document: Upload


@job("counting", retain_s=60, max_attempts=3, timeout_s=9)
async def counting(ctx: Context, input: Text) -> dict[str, int]:
    raise JobFailed("not run by these tests")


@job("scanning")
async def scanning(ctx: Context, input: Document) -> None:
    raise JobFailed("not run by these tests")


@job("narrow", max_queued=1)
async def narrow(ctx: Context) -> None:
    raise JobFailed("not run by these tests")


@job("broken-here", unavailable=lambda: "ffmpeg is not installed")
async def broken_here(ctx: Context) -> None:
    raise JobFailed("not run by these tests")


def options(**chosen: Any) -> SubmitOptions:
    """Options by their Python names."""
    return SubmitOptions.model_validate(chosen, by_name=True)


@dataclass
class Rooms:
    """What the tests use: the service, and what lies behind it."""

    service: Service
    backend: Backend
    store: JobStore
    files: DataDirectory
    hub: LocalHub

    async def submit(self, type: str = "counting", caller: Caller = LOCAL_CALLER, **chosen: Any) -> Job:
        fields = {"words": 3} if type == "counting" else {}
        return (await self.service.submitting.submit(caller, Submission(type, fields, **chosen))).job

    async def submission_with_file(self, text: str = "hello", sums: str = "sum") -> Submission:
        """Of the type `scanning`, its file received but not yet accepted."""
        incoming = await asyncio.to_thread(self.service.submitting.new_incoming)
        (incoming / "document").write_text(text)
        uploads = {"document": UploadedFile("document", "notes.txt", "text/plain", len(text))}
        return Submission("scanning", {}, uploads=uploads, incoming=incoming, sums={"document": sums})

    async def end(self, job: Job, outcome: Outcome = DONE) -> Job:
        """Claim the job, and record its outcome."""
        now = utc_now()
        (claim,) = (await self.store.claim([FreeSlots(1, {job.type: 1})], now)).claims
        assert claim.job.id == job.id
        return await self.store.finish(claim.job, outcome, Progress(), [], now)


@pytest.fixture
async def rooms(tmp_path: Path) -> AsyncIterator[Rooms]:
    settings = Settings(data_dir=str(tmp_path / "data"), max_queued=MAX_QUEUED)
    registry = Registry([declared_as(handler) for handler in (counting, scanning, narrow, broken_here)])
    async with AsyncExitStack() as stack:
        files = DataDirectory.open(settings.data_dir)
        stack.callback(files.close)
        hub = LocalHub()
        backend = await open_record(stack, settings, files, hub, Metrics())
        limits = Limits(
            retain_s=3600,
            min_free_bytes=1,
            max_waits=10,
            max_waits_per_client=5,
            max_waits_per_owner=5,
            max_input_bytes=MAX_INPUT_BYTES,
            allowed=AllowList(()),
            max_upload_bytes=MAX_UPLOAD_BYTES,
        )
        outgoing = Outgoing(AllowList(()))
        stack.push_async_callback(outgoing.close)
        prober = WebhookProber(backend.outbox, outgoing)
        workers = Workers(backend.store, registry)
        service = Service.over(backend, files, registry, JobIds(), prober, workers, limits=limits, loops=Loops())
        await service.uploads.open()
        yield Rooms(service, backend, backend.store, files, hub)
