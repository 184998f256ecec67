"""Jobs for the suites, on a clock that only the test advances."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from headway.domain.access import LOCAL_OWNER
from headway.domain.ids import JobIds
from headway.domain.jobs import Claim, Job, JobError, NewJob, NewLogLine
from headway.domain.outcomes import Completed, Failed, Outcome
from headway.domain.progress import Progress
from headway.ports.jobs import Claims, FreeSlots, JobStore, LogBatch, Tick

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
OWNER = LOCAL_OWNER
STRANGER = "stranger"
DAY_S = 24 * 60 * 60
UNKNOWN_ID = "018f0000-0000-7000-8000-000000000000"

ERROR = JobError(type="no-luck", title="No luck", detail="none at all", status=409)
DONE = Completed('{"answer":42}')
BROKEN = Failed(ERROR)

_ids = [JobIds()]


def forget_ids() -> None:
    """Begin again with the first id: each test has a record of its own."""
    _ids[:] = [JobIds()]


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def new_job(seconds: float = 0, **chosen: Any) -> NewJob:
    """A submission `seconds` after the start. Ids grow even if the test's clock does not advance."""
    job_id, created_at = _ids[0].new(at(seconds))
    fields: dict[str, Any] = {
        "id": job_id,
        "owner": OWNER,
        "type": "report",
        "input_json": "{}",
        "created_at": created_at,
        "run_at": at(seconds),
        "retain_s": float(DAY_S),
    }
    return NewJob(**(fields | chosen))


async def insert_many(store: JobStore, count: int, **chosen: Any) -> list[Job]:
    return list(await asyncio.gather(*(store.insert(new_job(**chosen)) for _ in range(count))))


async def claim_up_to(store: JobStore, free: Mapping[str, int], limit: int, seconds: float) -> Claims:
    """What is claimed if all types use one pool with `limit` free slots, of which a type may have `free[type]`."""
    return await store.claim([FreeSlots(limit, free)], at(seconds))


async def claim_one(
    store: JobStore, seconds: float = 0, free: Mapping[str, int] | None = None, limit: int = 1
) -> Claim:
    """The one job that can be claimed."""
    (claim,) = (await claim_up_to(store, free or {"report": 1}, limit, seconds)).claims
    return claim


async def running_job(store: JobStore, seconds: float = 0, **chosen: Any) -> Job:
    """A job that was submitted and claimed."""
    new = new_job(seconds, **chosen)
    await store.insert(new)
    claim = await claim_one(store, seconds, {new.type: 1})
    assert claim.job.id == new.id
    return claim.job


async def finish(
    store: JobStore,
    job: Job,
    outcome: Outcome = DONE,
    seconds: float = 1,
    progress: Progress | None = None,
    lines: Sequence[NewLogLine] = (),
) -> Job:
    return await store.finish(job, outcome, progress or Progress(), lines, at(seconds))


async def ended_job(store: JobStore, outcome: Outcome = DONE, seconds: float = 1, **chosen: Any) -> Job:
    return await finish(store, await running_job(store, **chosen), outcome, seconds)


def line(message: str, seconds: float = 0, level: str = "info") -> NewLogLine:
    return NewLogLine(at(seconds), level, message)


async def write_log(store: JobStore, job: Job, *messages: str) -> None:
    await store.append_logs([LogBatch(job.id, job.attempt, [line(message) for message in messages])])


async def tick(store: JobStore, job: Job, percent: float, seconds: float = 0) -> None:
    await store.tick([Tick(job.id, job.attempt, Progress(percent=percent))], at(seconds))
    await store.flush()
