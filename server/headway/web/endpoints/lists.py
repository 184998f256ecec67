"""`GET /jobs` and `GET /jobs/stats`."""

from urllib.parse import urlencode

from aiohttp import web
from pydantic_core import to_json

from ...clock import utc_now
from ...domain.filters import JobFilter
from ...domain.jobs import Status
from ...representation import job_fields
from ..identity.gate import caller
from ..links import LINKS
from ..parts import parts
from ..requests.filters import ListQuery, PageQuery
from ..requests.query import NoQuery, query
from ..responses.json import PRIVATE, json_response


async def list_jobs(request: web.Request) -> web.Response:
    """`GET /jobs`"""
    wanted = query(request, ListQuery)
    return await page_of_jobs(request, wanted, wanted.as_filter(wanted.type))


async def page_of_jobs(request: web.Request, wanted: PageQuery, filter: JobFilter) -> web.Response:
    """A page of the jobs that match `filter`, and a link to the next one."""
    reading = parts(request).service.reading
    page = await reading.page(caller(request), filter, wanted.limit, wanted.cursor)
    now = utc_now()
    links = request.app[LINKS]
    jobs = [job_fields(job, await reading.queue_position(job, now), links) for job in page.jobs]
    headers = dict(PRIVATE)
    if page.next_cursor is not None:
        more = urlencode({**request.query, "cursor": page.next_cursor})
        headers["Link"] = f'<{links.to(request.path)}?{more}>; rel="next"'
    return json_response(to_json({"jobs": jobs, "nextCursor": page.next_cursor}), headers=headers)


async def stats(request: web.Request) -> web.Response:
    """`GET /jobs/stats`"""
    query(request, NoQuery)
    counts = await parts(request).service.reading.counts(caller(request))
    by_status = {status.value: sum(of_type.get(status, 0) for of_type in counts.by_type.values()) for status in Status}
    by_type = {
        name: {status.value: of_type.get(status, 0) for status in Status}
        for name, of_type in sorted(counts.by_type.items())
    }
    total = sum(by_status.values())
    return json_response(to_json({"total": total, "byStatus": by_status, "byType": by_type}), headers=PRIVATE)
