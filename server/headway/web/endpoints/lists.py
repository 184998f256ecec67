"""`GET /jobs` and `GET /jobs/stats`."""

import asyncio

from aiohttp import web
from pydantic_core import to_json

from ...clock import utc_now
from ...domain.filters import JobFilter
from ...domain.jobs import Status
from ..identity.gate import caller, count_list
from ..parts import parts
from ..requests.filters import ListQuery, PageQuery
from ..requests.query import NoQuery, query
from ..responses.json import PRIVATE, json_response
from ..responses.paging import page_headers
from ..turns import PIECE


async def list_jobs(request: web.Request) -> web.Response:
    """`GET /jobs`"""
    wanted = query(request, ListQuery)
    return await page_of_jobs(request, wanted, wanted.as_filter(wanted.type))


async def page_of_jobs(request: web.Request, wanted: PageQuery, filter: JobFilter) -> web.Response:
    """A page of the jobs that match `filter`, and a link to the next one."""
    await count_list(request)
    reading, encoder = parts(request).service.reading, parts(request).encoder
    async with parts(request).turns.of(caller(request).sees):
        page = await reading.page(caller(request), filter, wanted.limit, wanted.cursor)
        now = utc_now()
        jobs = []
        for place, job in enumerate(page.jobs, 1):
            jobs.append(encoder.job(job, await reading.queue_position(job, now)))
            if place % PIECE == 0:
                await asyncio.sleep(0)  # others' turn
    body = b'{"jobs":[%s],"nextCursor":%s}' % (b",".join(jobs), to_json(page.next_cursor))
    return json_response(body, headers=page_headers(request, page.next_cursor))


async def stats(request: web.Request) -> web.Response:
    """`GET /jobs/stats`"""
    query(request, NoQuery)
    await count_list(request)
    counts = await parts(request).service.reading.counts(caller(request))
    by_status = {status.value: sum(of_type.get(status, 0) for of_type in counts.by_type.values()) for status in Status}
    by_type = {
        name: {status.value: of_type.get(status, 0) for status in Status}
        for name, of_type in sorted(counts.by_type.items())
    }
    total = sum(by_status.values())
    return json_response(to_json({"total": total, "byStatus": by_status, "byType": by_type}), headers=PRIVATE)
