"""Responses to submissions: 202 immediately, or the finished job if the client sent `Prefer: wait` (RFC 7240)."""

from contextlib import suppress

from aiohttp import web

from ...clock import utc_now
from ...domain.jobs import Job
from ...errors import JobNotFoundError, TooManyWaitsError
from ...representation import poll_after_s
from ...service.accepting import Accepted
from ..identity.base_urls import CLIENT_REQUEST_ID, absolute_links, location_links
from ..identity.gate import caller, count_submission
from ..links import LINKS
from ..parts import parts
from ..problems import RATE_LIMITS
from ..requests.batches import submit_batch
from ..requests.preferences import PREFER, applied_wait, preferred_wait_s
from ..requests.submissions import submit
from ..responses.accepted import fits_template
from ..responses.headers import etag
from ..responses.json import PRIVATE, json_response
from ..responses.ready import can_be_ready, ready_json
from ..waiting import wait_for_job
from .jobs import MAX_WAIT_S, make_ready


async def create_job(request: web.Request) -> web.StreamResponse:
    """`POST /jobs`"""
    count_submission(request)
    return await accepted_response(request, await submit(request, None))


async def create_typed_job(request: web.Request) -> web.StreamResponse:
    """`POST /jobs/{type}`"""
    return await create_job_of_type(request, request.match_info["id"])


async def create_job_of_type(request: web.Request, name: str) -> web.StreamResponse:
    """The same for a type that has a route of its own: the body is the input."""
    count_submission(request)
    return await accepted_response(request, await submit(request, name))


async def create_resource(request: web.Request, name: str) -> web.StreamResponse:
    """`POST {path}` of a type that has a path."""
    count_submission(request)
    return await accepted_response(request, await submit(request, name, own_path=True))


async def create_batch(request: web.Request) -> web.Response:
    """`POST /jobs/batch`: 200 with an outcome for each job, once those that are accepted are durable."""
    count_submission(request)
    told = await submit_batch(request)
    headers = PRIVATE | request.get(RATE_LIMITS, {})
    if told.replayed:
        headers["Idempotency-Replayed"] = "true"
    return json_response(told.outcomes_json.encode(), headers=headers)


async def accepted_response(request: web.Request, accepted: Accepted) -> web.StreamResponse:
    """202: accepted, durable, and where to look (RFC 9110, 15.3.3).

    A client that prefers to wait gets 200 and the finished job, if it ends in time.
    """
    job, of, absolute = accepted.job, parts(request), absolute_links(request)
    limits = request.get(RATE_LIMITS, {})
    ready = can_be_ready(request)
    plain = PREFER not in request.headers and CLIENT_REQUEST_ID not in request.headers
    if ready and plain and not accepted.replayed and fits_template(job):
        return of.accepted.fill(job, await of.store.queue_position(job, job.created_at), absolute, limits)
    headers = of.accepted.headers(job, location_links(request)) | limits
    headers["Operation-Location"] = absolute.operation(job)
    if accepted.replayed:
        headers["Idempotency-Replayed"] = "true"
    now = utc_now() if accepted.replayed else job.created_at
    if PREFER in request.headers and (wait_s := preferred_wait_s(request, MAX_WAIT_S)):
        job, now = await _after_waiting(request, job, wait_s), utc_now()
        if job.terminal:
            with suppress(JobNotFoundError):  # deleted since then: the response says how it ended, without its result
                return await _finished_response(request, job, headers | applied_wait(wait_s))
    position = await of.store.queue_position(job, now)
    headers["Retry-After"] = str(poll_after_s(job))
    body = of.encoder.job(job, position)
    if ready:
        return ready_json(202, body, headers)
    return web.Response(body=body, status=202, headers=headers, content_type="application/json")


async def _after_waiting(request: web.Request, job: Job, wait_s: float) -> Job:
    """The job when it has ended or the time is over, or as it last was if it is deleted meanwhile.

    As it was accepted if the limit on waiting requests is reached: a preference may be ignored.
    """
    try:
        return await wait_for_job(request, job.id, wait_s)
    except JobNotFoundError:
        return parts(request).service.reading.departed(caller(request), job.id) or job
    except TooManyWaitsError:
        return job


async def _finished_response(request: web.Request, job: Job, headers: dict[str, str]) -> web.Response:
    """What `GET /jobs/{id}` would answer now, with the header that says so (RFC 9110, 8.7)."""
    ready = await make_ready(request, job, None)
    headers |= {"Content-Location": request.app[LINKS].job(job), "ETag": etag(job)}
    return web.Response(body=ready.body, status=200, headers=headers, content_type="application/json")
