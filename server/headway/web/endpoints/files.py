"""`GET /jobs/{id}/files`, `GET /jobs/{id}/files.zip` and `GET /jobs/{id}/files/{name}`: a job's output files."""

import re
from contextlib import aclosing
from functools import partial
from typing import Annotated

import structlog
from aiohttp import hdrs, web
from pydantic import Field
from pydantic_core import to_json

from ...clock import utc_now
from ...domain.audit import Action, Entry
from ...domain.jobs import Job
from ...errors import OutputNotFoundError, StoreUnavailableError
from ...representation import file_fields, path_segment
from ..connections.slow_readers import reset
from ..identity.gate import actor, count_list
from ..links import LINKS
from ..parts import parts
from ..requests.filters import QueryModel
from ..requests.path import find_job
from ..requests.query import NoQuery, query
from ..responses.archive import Archive
from ..responses.files import send_file
from ..responses.json import PRIVATE
from ..responses.paging import page_headers
from ..responses.representations import representation

SANDBOX = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"

log = structlog.get_logger(__name__)


class FilesQuery(QueryModel):
    """Which output files a page has, and how many."""

    limit: Annotated[int, Field(ge=1, le=200)] = 100
    cursor: str = Field("", description="`nextCursor` of the page before.")


class FileQuery(QueryModel):
    """Whether the browser shows the file instead of saving it."""

    inline: bool = False


async def list_files(request: web.Request) -> web.Response:
    """`GET /jobs/{id}/files`: a page of the job's output files, and a link to the next one."""
    wanted = query(request, FilesQuery)
    await count_list(request)
    job = await find_job(request)
    page = await parts(request).service.reading.files(job, wanted.cursor, wanted.limit)
    status_url = request.app[LINKS].job(job)
    files = [file_fields(file, status_url) for file in page.files]
    body = to_json({"files": files, "filesTotal": job.files_total, "nextCursor": page.next_cursor})
    return await representation(request, body, page_headers(request, page.next_cursor))


async def read_file(request: web.Request) -> web.StreamResponse:
    """`GET /jobs/{id}/files/{name}`: sandboxed, so that it never runs in the server's origin."""
    wanted = query(request, FileQuery)
    job = await find_job(request)
    return await send_output(request, job, request.match_info["name"], inline=wanted.inline)


async def send_output(request: web.Request, job: Job, name: str, *, inline: bool) -> web.StreamResponse:
    """Send the job's output file of that name. Raises `OutputNotFoundError`."""
    file, opened = await parts(request).service.results.open_output(job, name)
    _note_download(request, job)
    headers = {
        "Content-Type": file.content_type,
        "Content-Disposition": _disposition(name, inline=inline),
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": SANDBOX,
        **PRIVATE,
    }
    return await send_file(request, opened, headers)


async def read_archive(request: web.Request) -> web.StreamResponse:
    """`GET /jobs/{id}/files.zip`: all output files as one, made while it is sent.

    If it cannot be completed, because a file is deleted meanwhile for example, the connection is reset.
    """
    query(request, NoQuery)
    job = await find_job(request)
    results = parts(request).service.results
    results.check_files(job)
    _note_download(request, job)
    name = f"{job.type}-{job.id}.zip"
    headers = {"Content-Type": "application/zip", "Content-Disposition": _disposition(name, inline=False), **PRIVATE}
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    if request.method == hdrs.METH_HEAD:
        return response
    pieces = Archive(partial(results.open_file, job), parts(request).archiving).pieces(results.pages(job))
    try:
        with parts(request).slow_readers.watching(request.transport):
            async with aclosing(pieces):
                async for piece in pieces:
                    await response.write(piece)
    except (OutputNotFoundError, StoreUnavailableError) as error:
        log.warning("an archive was cut off: a file cannot be read", job_id=job.id, reason=str(error))
        if request.transport is not None:
            reset(request.transport)
    return response


def _note_download(request: web.Request, job: Job) -> None:
    if parts(request).settings.audit_downloads:
        entry = Entry(utc_now(), actor(request), Action.DOWNLOAD, job.owner, job.id, job.type)
        parts(request).audit.note([entry])


def _disposition(name: str, *, inline: bool) -> str:
    """RFC 6266: the name twice, once in ASCII for old clients (appendix D)."""
    ascii_name = re.sub(r"[^ !#-\[\]-~]|%", "_", name)
    kind = "inline" if inline else "attachment"
    return f"{kind}; filename=\"{ascii_name}\"; filename*=UTF-8''{path_segment(name)}"
