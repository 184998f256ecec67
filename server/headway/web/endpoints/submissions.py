"""Answers to submissions: 202 at once, or the finished job for who prefers to wait (RFC 7240)."""

from contextlib import suppress

from aiohttp import web

from ...clock import utc_now
from ...domain.jobs import Job
from ...errors import JobNotFoundError, TooManyWaitsError
from ..identity.gate import count_submission
from ..keys import ENCODER, REGISTRY, STORE
from ..links import LINKS
from ..problems import RATE_LIMITS
from ..requests.preferences import PREFER, applied_wait, preferred_wait_s
from ..requests.submissions import Submitted, submit_envelope, submit_typed
from ..responses.headers import etag, retry_after_s
from ..responses.json import PRIVATE
from ..responses.ready import can_be_ready, ready_json
from ..waiting import wait_for_job
from .jobs import MAX_WAIT_S, make_ready


async def create_job(request: web.Request) -> web.StreamResponse:
    """`POST /jobs`"""
    count_submission(request)
    return await accepted(request, await submit_envelope(request))


async def create_typed_job(request: web.Request) -> web.StreamResponse:
    """`POST /jobs/{type}`"""
    return await create_job_of_type(request, request.match_info["id"])


async def create_job_of_type(request: web.Request, name: str) -> web.StreamResponse:
    """A submission whose body is the input, whatever its path."""
    count_submission(request)
    return await accepted(request, await submit_typed(request, name))


async def accepted(request: web.Request, submitted: Submitted) -> web.StreamResponse:
    """202: accepted, durable, and where to look (RFC 9110, 15.3.3).

    For a type that asks for it, who just follows the headers ends at the result. Who prefers to wait gets 200 and
    the finished job, if it ends in time.
    """
    job = submitted.job
    links = request.app[LINKS]
    headers = {
        "Location": links.job(job, redirect=_leads_on(request, job)),
        "Operation-Location": links.operation(job),
        **PRIVATE,
        **request.get(RATE_LIMITS, {}),
    }
    if submitted.replayed:
        headers["Idempotency-Replayed"] = "true"
    now = utc_now() if submitted.replayed else job.created_at
    if PREFER in request.headers and (wait_s := preferred_wait_s(request, MAX_WAIT_S)):
        job, now = await _after_waiting(request, job, wait_s), utc_now()
        if job.terminal:
            with suppress(JobNotFoundError):  # deleted since; that it was accepted is still true
                return await _answer_finished(request, job, headers | applied_wait(wait_s))
    position = await request.app[STORE].queue_position(job, now)
    headers["Retry-After"] = str(retry_after_s(job))
    body = request.app[ENCODER].job(job, position)
    if can_be_ready(request):
        return ready_json(202, body, headers)
    return web.Response(body=body, status=202, headers=headers, content_type="application/json")


def _leads_on(request: web.Request, job: Job) -> bool:
    job_type = request.app[REGISTRY].get(job.type)
    return job_type is not None and job_type.on_complete == "redirect"


async def _after_waiting(request: web.Request, job: Job, wait_s: float) -> Job:
    """The job when it has ended or the time is over; as it was accepted if it is deleted meanwhile, or if too many
    wait: a preference is no demand.
    """
    try:
        return await wait_for_job(request, job.id, wait_s)
    except (JobNotFoundError, TooManyWaitsError):
        return job


async def _answer_finished(request: web.Request, job: Job, headers: dict[str, str]) -> web.Response:
    """What `GET /jobs/{id}` would say now, and that it is that (RFC 9110, 8.7)."""
    ready = await make_ready(request, job, None)
    headers |= {"Content-Location": request.app[LINKS].job(job), "ETag": etag(job)}
    return web.Response(body=ready.body, status=200, headers=headers, content_type="application/json")
