"""`/jobs/{id}/result`: read it, delete it."""

import asyncio

from aiohttp import web

from ...clock import utc_now
from ...domain.jobs import Job, Status
from ...representation import INLINE_RESULT_BYTES, error_fields
from ..keys import FILES, STORE
from ..problems import Problem
from ..requests.path import find_job
from ..requests.query import NoQuery, query
from ..responses.headers import retry_after_s
from ..responses.json import PRIVATE, json_response


async def delete_result(request: web.Request) -> web.Response:
    """`DELETE /jobs/{id}/result`: deletes result and output files, keeps the record."""
    query(request, NoQuery)
    job = await find_job(request)
    if not job.terminal:
        raise Problem("not-finished", f"The job is {job.status}.", retry_after_s=retry_after_s(job))
    await request.app[STORE].delete_result(job.owner, job.id, utc_now())
    await asyncio.to_thread(request.app[FILES].discard_output, job)
    return web.Response(status=204)


async def read_result(request: web.Request) -> web.Response:
    """`GET /jobs/{id}/result`: the place where a failed job is an HTTP error."""
    query(request, NoQuery)
    job = await find_job(request)
    check_finished(job)
    documents = await request.app[STORE].documents(job.owner, job.id)
    if documents.result_json is None:
        raise Problem("gone", "The result was deleted.")
    return json_response(documents.result_json.encode(), headers=PRIVATE)


async def inline_result(request: web.Request, job: Job) -> bytes:
    """What the handler returned, as JSON text, up to 64 KiB; else `null`."""
    if job.result_bytes is None or job.result_bytes > INLINE_RESULT_BYTES:
        return b"null"
    documents = await request.app[STORE].documents(job.owner, job.id)
    return (documents.result_json or "null").encode()


def check_finished(job: Job) -> None:
    """Raises `Problem` if the job has no result to show: it is too early, it failed, it was cancelled."""
    if not job.terminal:
        raise Problem("not-finished", f"The job is {job.status}.", retry_after_s=retry_after_s(job))
    if job.status is Status.FAILED:
        error = None if job.error is None else error_fields(job.error)
        raise Problem("job-failed", job.error.title if job.error else None, extra={"jobError": error})
    if job.status is Status.CANCELLED:
        raise Problem("gone", "The job was cancelled.")
