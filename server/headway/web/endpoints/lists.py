"""`GET /jobs`, `GET /jobs/stats` and `GET /usage`."""

import asyncio
from typing import Annotated

from aiohttp import web
from pydantic import BaseModel, Field
from pydantic_core import to_json

from ...clock import utc_now
from ...domain.filters import JobFilter
from ...domain.jobs import Status
from ...quotas import Account
from ...turns import PIECE
from ..identity.gate import caller, count_list, identity
from ..parts import parts
from ..requests.filters import ListQuery, PageQuery
from ..requests.query import NoQuery, query
from ..responses.json import PRIVATE
from ..responses.paging import page_headers
from ..responses.representations import representation


class MeasureView(BaseModel):
    """How much there is, and how much there may be."""

    used: int
    limit: int | None = Field(description="`null`: there is no limit")


class AccountView(BaseModel):
    """The quota of an owner, or of an API key, and how much of it is used."""

    name: str
    jobs: MeasureView = Field(description="the jobs that are kept, whatever their state")
    bytes: MeasureView = Field(description="of their inputs, uploads, results, output files, logs and checkpoints")
    queued: MeasureView
    running: MeasureView = Field(description="beyond the limit, jobs stay queued until one of these ends")


class UsageView(BaseModel):
    """What an owner uses, and what was submitted with the key of the request."""

    owner: AccountView
    key: AccountView | None = Field(description="`null` without a key, and for another owner")


class UsageQuery(NoQuery):
    """Whose figures to show."""

    owner: Annotated[str, Field(max_length=64)] | None = Field(
        None, description="The owner, if it is another one: for an admin's key."
    )


async def list_jobs(request: web.Request) -> web.Response:
    """`GET /jobs`"""
    wanted = query(request, ListQuery)
    return await page_of_jobs(request, wanted, wanted.as_filter(wanted.type))


async def page_of_jobs(request: web.Request, wanted: PageQuery, filter: JobFilter) -> web.Response:
    """A page of the jobs that match `filter`, and a link to the next one."""
    await count_list(request)
    reading, encoder = parts(request).service.reading, parts(request).encoder
    async with parts(request).turns.of(caller(request).sees):
        page = await reading.page(caller(request), filter, wanted.limit, wanted.cursor, wanted.order)
        now = utc_now()
        jobs = []
        for place, job in enumerate(page.jobs, 1):
            jobs.append(encoder.job(job, await reading.queue_position(job, now)))
            if place % PIECE == 0:
                await asyncio.sleep(0)  # others' turn
    body = b'{"jobs":[%s],"nextCursor":%s}' % (b",".join(jobs), to_json(page.next_cursor))
    return await representation(request, body, page_headers(request, page.next_cursor))


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
    return await representation(request, to_json({"total": total, "byStatus": by_status, "byType": by_type}), PRIVATE)


async def usage(request: web.Request) -> web.Response:
    """`GET /usage`"""
    wanted = query(request, UsageQuery)
    reading, asking, key = parts(request).service.reading, caller(request), identity(request).key
    owner = asking.owner if wanted.owner is None else wanted.owner
    view = UsageView(
        owner=_account_view(owner, reading.usage(asking, owner)),
        key=None if key is None or owner != key.owner else _account_view(key.name, reading.usage_of_key(key.id)),
    )
    return await representation(request, to_json(view), PRIVATE)


def _account_view(name: str, account: Account) -> AccountView:
    measures = zip(account.quota._fields, account.quota, account.used, strict=True)
    return AccountView(name=name, **{field: MeasureView(used=used, limit=limit) for field, limit, used in measures})
