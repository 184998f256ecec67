"""What can be done with a job that has ended: repeat it, or delete its result and keep its record."""

import asyncio

from aiohttp import web

from ..clock import utc_now
from ..jobs import Job, NewJob, Status
from .auth import caller
from .endpoints import accepted, find_job
from .intake import NoQuery, query
from .keys import FILES, IDS, STORE
from .limits import refuse_when_disk_is_full
from .problems import Problem
from .submission import find_type, insert_new
from .wire import retry_after_s

REPEATABLE = frozenset({Status.FAILED, Status.CANCELLED})


async def retry_job(request: web.Request) -> web.StreamResponse:
    """`POST /jobs/{id}/retry`: a new job with the same inputs, uploads included."""
    query(request, NoQuery)
    job = await find_job(request)
    if job.status not in REPEATABLE:
        raise Problem("conflict", f"Only a failed or cancelled job can be repeated; this one is {job.status}.")
    job_type = find_type(request, job.type)
    refuse_when_disk_is_full(request)
    documents = await request.app[STORE].documents(job.owner, job.id)
    new = _repetition(request, job, documents.input_json)

    def link_inputs() -> None:
        request.app[FILES].link_inputs(job, new.id)

    return await accepted(request, await insert_new(request, job_type, new, link_inputs if job.uploads else None))


def _repetition(request: web.Request, job: Job, input_json: str) -> NewJob:
    job_id, created_at = request.app[IDS].new(utc_now())
    return NewJob(
        id=job_id,
        owner=caller(request),
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
    )


async def delete_result(request: web.Request) -> web.Response:
    """`DELETE /jobs/{id}/result`: deletes result and output files, keeps the record."""
    query(request, NoQuery)
    job = await find_job(request)
    if not job.terminal:
        raise Problem("not-finished", f"The job is {job.status}.", retry_after_s=retry_after_s(job))
    await request.app[STORE].delete_result(job.owner, job.id, utc_now())
    await asyncio.to_thread(request.app[FILES].discard_output, job)
    return web.Response(status=204)
