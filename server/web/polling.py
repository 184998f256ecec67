"""`GET /jobs/{id}`: polls, and long polls that wait for news."""

from typing import Annotated

from aiohttp import web
from pydantic import Field

from ..clock import utc_now
from ..jobs import Job
from .endpoints import PRIVATE, find_job
from .intake import NoQuery, query
from .keys import ENCODER, LINKS, STORE, WAITING
from .preferences import applied_wait, preferred_wait_s
from .wire import etag, retry_after_s

MAX_WAIT_S = 60


class JobQuery(NoQuery):
    """How long the answer may wait, and whether a job that has ended leads on to its result."""

    redirect: bool = Field(False, description="Once the job has ended: 303 to its result, where a failure is an error.")
    wait: Annotated[float, Field(ge=0, le=MAX_WAIT_S, allow_inf_nan=False)] | None = Field(
        None,
        description="Seconds to wait for the end of the job, or with `If-None-Match` for another version of it.",
    )


async def read_job(request: web.Request) -> web.Response:
    """`GET /jobs/{id}`"""
    wanted = query(request, JobQuery)
    job = await find_job(request)
    wait_s, applied = _granted(request, wanted)
    if wait_s:
        job = await request.app[WAITING].for_job(request, job.id, wait_s, lambda job: _is_news(request, job))
    if wanted.redirect and job.terminal:
        location = request.app[LINKS].result(job)
        return web.Response(status=303, headers={"Location": location, **PRIVATE, **applied})
    return await _answer(request, job, applied)


def _granted(request: web.Request, wanted: JobQuery) -> tuple[float, dict[str, str]]:
    """How many seconds the answer may wait, and the headers that say so: a parameter wins over a preference."""
    if wanted.wait is not None:
        return wanted.wait, {}
    preferred_s = preferred_wait_s(request, MAX_WAIT_S)
    return (0, {}) if preferred_s is None else (preferred_s, applied_wait(preferred_s))


def _is_news(request: web.Request, job: Job) -> bool:
    """What a long poll waits for. A job that has ended says so at once: nothing more will come."""
    return job.terminal or ("If-None-Match" in request.headers and not _not_modified(request, job))


async def _answer(request: web.Request, job: Job, more_headers: dict[str, str]) -> web.Response:
    headers = {"ETag": etag(job), **PRIVATE, **more_headers}
    if not job.terminal:
        headers["Retry-After"] = str(retry_after_s(job))
    if _not_modified(request, job):
        return web.Response(status=304, headers=headers)
    store, encoder = request.app[STORE], request.app[ENCODER]
    tail = encoder.tail(job)
    if tail is None:
        tail = encoder.make_tail(job, await store.documents(job.owner, job.id))
    body = encoder.detail(job, await store.queue_position(job, utc_now()), tail)
    status = 200 if job.terminal else 202
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")


def _not_modified(request: web.Request, job: Job) -> bool:
    """`If-None-Match` by weak comparison (RFC 9110, 13.1.2)."""
    if request.headers.get("If-None-Match", "").strip() == "*":
        return True
    return any(tag.value == str(job.version) for tag in request.if_none_match or ())
