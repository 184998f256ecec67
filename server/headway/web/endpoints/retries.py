"""What can be done with a job that has ended: repeat it, or delete its result and keep its record."""

from collections.abc import Callable
from functools import partial

from aiohttp import web

from ...authoring.job_types import JobType
from ...clock import utc_now
from ...domain.jobs import Job, NewJob, Status
from ..identity.gate import count_submission
from ..keys import FILES, IDS, STORE
from ..problems import Problem
from ..requests.disk_space import refuse_when_disk_is_full
from ..requests.idempotency import fingerprint_of, first_job, first_with, given_key, key_for
from ..requests.path import find_job
from ..requests.query import NoQuery, query
from ..requests.submissions import Submitted, find_type, insert_new, insert_new_once
from .submissions import accepted

REPEATABLE = frozenset({Status.FAILED, Status.CANCELLED})


async def retry_job(request: web.Request) -> web.StreamResponse:
    """`POST /jobs/{id}/retry`: a new job with the same inputs, uploads included."""
    count_submission(request)
    query(request, NoQuery)
    key = given_key(request)
    return await accepted(
        request, Submitted(await _repeat(request)) if key is None else await _repeat_once(request, key)
    )


async def _repeat(request: web.Request) -> Job:
    job_type, new, link_inputs = await _repetition(request)
    return await insert_new(request, job_type, new, link_inputs)


async def _repeat_once(request: web.Request, key: str) -> Submitted:
    """With an idempotency key: the first repetition if there is one, whatever has become of the job repeated."""
    fingerprint = fingerprint_of({"retryOf": request.match_info["id"]})
    first = await first_with(request, key)
    if first is None:
        job_type, new, link_inputs = await _repetition(request)
        inserted = await insert_new_once(request, job_type, new, link_inputs, key_for(request, key, fingerprint, new))
        if isinstance(inserted, Job):
            return Submitted(inserted)
        first = inserted
    return Submitted(await first_job(request, first, fingerprint), replayed=True)


async def _repetition(request: web.Request) -> tuple[JobType, NewJob, Callable[[], None] | None]:
    """The type, the new job, and what puts its inputs in place if it has any."""
    job = await find_job(request)
    if job.status not in REPEATABLE:
        raise Problem("conflict", f"Only a failed or cancelled job can be repeated; this one is {job.status}.")
    job_type = find_type(request, job.type)
    refuse_when_disk_is_full(request)
    documents = await request.app[STORE].documents(job.owner, job.id)
    new = _new_job(request, job, documents.input_json)
    return job_type, new, partial(request.app[FILES].link_inputs, job, new.id) if job.uploads else None


def _new_job(request: web.Request, job: Job, input_json: str) -> NewJob:
    job_id, created_at = request.app[IDS].new(utc_now())
    return NewJob(
        id=job_id,
        owner=job.owner,
        type=job.type,
        input_json=input_json,
        created_at=created_at,
        run_at=created_at,
        retain_s=job.retain_s,
        label=job.label,
        priority=job.priority,
        max_attempts=job.max_attempts,
        timeout_s=job.timeout_s,
        uploads=job.uploads,
        retry_of=job.id,
        webhook=job.webhook,
    )
