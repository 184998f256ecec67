"""`GET /jobs/{id}`: polls and long polls; cancelling and deleting."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Annotated

from aiohttp import hdrs, web
from pydantic import Field

from ...clock import utc_now
from ...domain.jobs import Job, Status
from ...errors import JobNotFoundError, TooManyWaitsError
from ...representation import poll_after_s
from ..identity.gate import caller
from ..links import LINKS
from ..parts import parts
from ..requests.filters import QueryModel
from ..requests.path import find_job
from ..requests.preferences import PREFER, applied_wait, preferred_wait_s
from ..requests.query import NoQuery, query
from ..responses.headers import etag
from ..responses.json import PRIVATE, json_response
from ..responses.ready import ReadyAnswer, can_be_ready
from ..waiting import wait_for_job

CANCEL_WAIT_S = 2.0
CANCEL_POLL_S = 1


class PurgeQuery(QueryModel):
    """Whether the record is deleted as well."""

    purge: bool = False


async def delete_job(request: web.Request) -> web.Response:
    """`DELETE /jobs/{id}`: cancel, or with `?purge=true` delete; recorded first, then awaited for a moment."""
    wanted = query(request, PurgeQuery)
    cancelling = parts(request).service.cancelling
    use_case = cancelling.delete if wanted.purge else cancelling.cancel
    job = await use_case(caller(request), request.match_info["id"])
    try:
        with suppress(TooManyWaitsError):
            job = await wait_for_job(request, job.id, CANCEL_WAIT_S)
    except JobNotFoundError:  # purged
        return web.Response(status=204)
    if job.terminal:
        return web.Response(status=204)
    headers = {"Location": request.app[LINKS].job(job), "Retry-After": str(CANCEL_POLL_S), **PRIVATE}
    return json_response(parts(request).encoder.job(job, None), status=202, headers=headers)


MAX_WAIT_S = 50
"""Less than the 60 s after which proxies give up on a silent response (nginx: `proxy_read_timeout`)."""
NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class WaitQuery(NoQuery):
    """How long to wait."""

    wait: Annotated[float, Field(ge=0, le=MAX_WAIT_S, allow_inf_nan=False)] | None = Field(
        None, description="Seconds to wait for the end of the job."
    )


class JobQuery(WaitQuery):
    """How long to wait, and whether to redirect to the result of a job that has ended."""

    redirect: bool = Field(False, description="Once the job has ended: 303 to its result, where a failure is an error.")
    wait: Annotated[float, Field(ge=0, le=MAX_WAIT_S, allow_inf_nan=False)] | None = Field(
        None,
        description="Seconds to wait for the end of the job, or with `If-None-Match` for another version of it.",
    )


async def read_job(request: web.Request) -> web.StreamResponse:
    """`GET /jobs/{id}`"""
    if request.rel_url.raw_query_string or PREFER in request.headers:
        return await _read_job_as_wished(request)
    return await _answer(request, await find_job(request))


async def _read_job_as_wished(request: web.Request) -> web.StreamResponse:
    wanted = query(request, JobQuery)
    job, applied = await job_after_waiting(request, wanted.wait, lambda job: _is_news(request, job))
    if wanted.redirect and job.terminal:
        location = request.app[LINKS].result(job)
        return web.Response(status=303, headers={"Location": location, **PRIVATE, **applied})
    return await _answer(request, job, applied)


async def job_after_waiting(
    request: web.Request, wait_s: float | None, enough: Callable[[Job], bool]
) -> tuple[Job, dict[str, str]]:
    """The job of the path, and the headers that report how long its client was willing to wait.

    It is returned as soon as it is `enough`, or after the seconds of the query or else of the header `Prefer`.
    """
    job = await find_job(request)
    granted_s, applied = _granted(request, wait_s)
    if granted_s:
        try:
            return await wait_for_job(request, job.id, granted_s, enough), applied
        except TooManyWaitsError:
            if wait_s is not None:
                raise
            return job, {}  # a preference may be ignored
    return job, applied


def _granted(request: web.Request, wait_s: float | None) -> tuple[float, dict[str, str]]:
    """How many seconds to wait, and the headers that report it: a parameter wins over a preference."""
    if wait_s is not None:
        return wait_s, {}
    preferred_s = preferred_wait_s(request, MAX_WAIT_S)
    return (0, {}) if preferred_s is None else (preferred_s, applied_wait(preferred_s))


def _is_news(request: web.Request, job: Job) -> bool:
    """What a long poll waits for. A job that has ended is answered at once, because nothing more will change."""
    return job.terminal or (hdrs.IF_NONE_MATCH in request.headers and not _not_modified(request, job))


async def _answer(request: web.Request, job: Job, applied: Mapping[str, str] = NO_HEADERS) -> web.StreamResponse:
    store, answers = parts(request).store, parts(request).ready
    position = await store.queue_position(job, utc_now()) if job.status is Status.QUEUED else None
    ready = answers.get(job, position)
    held = request.headers.get(hdrs.IF_NONE_MATCH)
    # Nearly all clients send it back unchanged; parsing it with aiohttp would make these polls a third more expensive.
    unchanged = held is not None and ((ready is not None and held == ready.etag) or _not_modified(request, job))
    if ready is None:
        if unchanged:  # the body, which may have to be read from disk, is not needed
            return web.Response(status=304, headers={**_headers(job), **applied})
        ready = await make_ready(request, job, position)
        answers.keep(job.id, ready)
    if can_be_ready(request) and not applied:
        return ready.not_modified() if unchanged else ready.response()
    headers = {**_headers(job), **applied}
    if unchanged:
        return web.Response(status=304, headers=headers)
    return web.Response(body=ready.body, status=ready.status, headers=headers, content_type="application/json")


async def make_ready(request: web.Request, job: Job, position: int | None) -> ReadyAnswer:
    """The response to a poll, with input and result."""
    encoder = parts(request).encoder
    tail = encoder.tail(job)
    if tail is None:
        tail = encoder.make_tail(job, await parts(request).service.reading.documents(job))
    return ReadyAnswer.make(job, position, encoder.detail(job, position, tail), _headers(job))


def _headers(job: Job) -> dict[str, str]:
    headers = {"ETag": etag(job), **PRIVATE}
    if not job.terminal:
        headers["Retry-After"] = str(poll_after_s(job))
    return headers


def _not_modified(request: web.Request, job: Job) -> bool:
    """`If-None-Match` by weak comparison (RFC 9110, 13.1.2)."""
    if request.headers.get(hdrs.IF_NONE_MATCH, "").strip() == "*":
        return True
    return any(tag.value == str(job.version) for tag in request.if_none_match or ())
