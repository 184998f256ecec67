"""`GET /jobs/{id}`: polls and long polls, and a badge; editing, cancelling and deleting."""

import hashlib
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Annotated
from urllib.parse import quote, urlencode

from aiohttp import hdrs, web
from pydantic import Field

from ...clock import utc_now
from ...domain.jobs import Job, Status
from ...errors import JobNotFoundError, TooManyWaitsError
from ...representation import poll_after_s, shows_result
from ...service.options import JobPatch
from ...validation import validate
from ..identity.base_urls import location_links
from ..identity.gate import caller, count_edit, has_ticket, takes_ticket
from ..identity.tickets import TICKET
from ..links import LINKS
from ..negotiation import prefers_html
from ..parts import parts
from ..problems import RATE_LIMITS, Problem
from ..requests.bodies import JSON_TYPE, MERGE_PATCH_TYPE, json_body
from ..requests.filters import QueryModel
from ..requests.path import find_job
from ..requests.preferences import PREFER, applied_wait, preferred_wait_s
from ..requests.query import NoQuery, query
from ..responses.badge import badge
from ..responses.encodings import coding_for, encoded
from ..responses.headers import etag, is_held
from ..responses.json import PRIVATE, json_response
from ..responses.ready import RESOURCE_POLICY, ReadyAnswer, can_be_ready
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
    headers = {"Location": location_links(request).job(job), "Retry-After": str(CANCEL_POLL_S), **PRIVATE}
    return json_response(parts(request).encoder.job(job, None), status=202, headers=headers)


async def edit_job(request: web.Request) -> web.Response:
    """`PATCH /jobs/{id}`: a merge patch (RFC 7396) of what a client may change; with `If-Match`, of a certain edit."""
    count_edit(request)
    query(request, NoQuery)
    tags = accepted_tags(request)
    patch = validate(JobPatch, await json_body(request, types=(MERGE_PATCH_TYPE, JSON_TYPE)))
    job = await parts(request).service.editing.edit(caller(request), request.match_info["id"], patch, tags)
    position = await parts(request).service.reading.queue_position(job, utc_now())
    headers = {"ETag": etag(job), **PRIVATE, **request.get(RATE_LIMITS, {})}
    return json_response(parts(request).encoder.job(job, position), headers=headers)


_TAG = re.compile(r'(W/)?"([!#-~\x80-\xff]*)"')


def accepted_tags(request: web.Request) -> frozenset[str] | None:
    """The edit tags of `If-Match` (RFC 9110, 13.1.1); `None`: any. Weak ones match nothing, so those of states do not.

    Raises `Problem` for a malformed header: a condition that cannot be read must not be passed over.
    """
    given = ",".join(request.headers.getall(hdrs.IF_MATCH, []))
    if given.strip() == "*" or hdrs.IF_MATCH not in request.headers:
        return None
    tags = _TAG.findall(given)
    if not tags or _TAG.sub("", given).strip(", \t"):
        raise Problem("malformed-request", 'If-Match is * or a list of tags in quotes, as "e3".')
    return frozenset(tag for weak, tag in tags if not weak)


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
    """`GET /jobs/{id}`. A browser that opens it is led to the job's page, which says whether there is such a job."""
    if prefers_html(request) and not request.rel_url.raw_query_string:
        page = request.app[LINKS].to(f"/#/jobs/{quote(request.match_info['id'], safe='')}")
        return web.Response(status=303, headers={"Location": page, **PRIVATE, "Vary": "Accept"})
    return await read_state(request)


async def read_state(request: web.Request) -> web.StreamResponse:
    """The job of the path as JSON, or where it leads."""
    if request.rel_url.raw_query_string or PREFER in request.headers:
        return await _read_job_as_wished(request)
    return await _answer(request, await find_job(request))


async def _read_job_as_wished(request: web.Request) -> web.StreamResponse:
    wanted = query(request, JobQuery)
    job, applied = await job_after_waiting(request, wanted.wait, lambda job: _is_news(request, job))
    if wanted.redirect and job.terminal:
        headers = {"Location": _result_location(request, job), "Vary": "Accept", **PRIVATE, **applied}
        return web.Response(status=303, headers=headers)
    return await _answer(request, job, applied)


def _result_location(request: web.Request, job: Job) -> str:
    """The URL of the result. A ticket travels along if it leads to what it opens: below the job's own URL."""
    links = location_links(request)
    location, mark, fragment = links.result(job).partition("#")
    if TICKET in request.query and takes_ticket(request) and location.startswith(f"{links.job(job)}/"):
        separator = "&" if "?" in location else "?"
        location += separator + urlencode({TICKET: request.query[TICKET]})
    return location + mark + fragment


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
    return job.terminal or (hdrs.IF_NONE_MATCH in request.headers and not is_held(request, str(job.version)))


async def _answer(request: web.Request, job: Job, applied: Mapping[str, str] = NO_HEADERS) -> web.StreamResponse:
    store, answers = parts(request).store, parts(request).ready
    position = await store.queue_position(job, utc_now()) if job.status is Status.QUEUED else None
    ready = answers.get(job, position)
    held = request.headers.get(hdrs.IF_NONE_MATCH)
    # Nearly all clients send it back unchanged; parsing it with aiohttp would make these polls a third more expensive.
    unchanged = held is not None and ((ready is not None and held == ready.etag) or is_held(request, str(job.version)))
    if ready is None:
        if unchanged:  # the body, which may have to be read from disk, is not needed
            return web.Response(status=304, headers={**_headers(job), **applied})
        ready = await make_ready(request, job, position)
        answers.keep(job.id, ready)
    if can_be_ready(request) and not applied:
        if unchanged:
            return ready.not_modified()
        if coding_for(request, len(ready.body)) is None:
            return ready.response()
    headers = {**_headers(job), **applied}
    if unchanged:
        return web.Response(status=304, headers=headers)
    body, encoding = await encoded(request, ready.body)
    return json_response(body, status=ready.status, headers=headers | encoding)


async def make_ready(request: web.Request, job: Job, position: int | None) -> ReadyAnswer:
    """The response to a poll, with input and result."""
    encoder = parts(request).encoder
    tail = encoder.tail(job)
    if tail is None:
        tail = encoder.make_tail(
            job, await parts(request).service.reading.documents(job, with_result=shows_result(job))
        )
    return ReadyAnswer.make(job, position, encoder.detail(job, position, tail), _headers(job))


def _headers(job: Job) -> dict[str, str]:
    headers = {"ETag": etag(job), "Vary": "Accept, Accept-Encoding", **PRIVATE}
    if not job.terminal:
        headers["Retry-After"] = str(poll_after_s(job))
    return headers


async def read_badge(request: web.Request) -> web.Response:
    """`GET /jobs/{id}/badge.svg`: a picture of the job's state. With a ticket, pages of other sites may show it."""
    query(request, NoQuery)
    picture = badge(await find_job(request)).encode()
    tag = hashlib.sha256(picture).hexdigest()[:16]  # of what is shown: many versions look alike
    headers = {"ETag": f'"{tag}"', **PRIVATE}
    if has_ticket(request):
        headers[RESOURCE_POLICY] = "cross-origin"
    if any(held.value in (tag, "*") for held in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    return web.Response(body=picture, headers=headers, content_type="image/svg+xml", charset="utf-8")
