"""`GET /jobs/{id}/files/{name}`: a job's output files."""

import re

from aiohttp import web

from ...domain.jobs import Job
from ...representation import path_segment
from ..keys import FILES
from ..problems import Problem
from ..requests.filters import QueryModel
from ..requests.path import find_job
from ..requests.query import query
from ..responses.files import send_file
from ..responses.json import PRIVATE

SANDBOX = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"


class FileQuery(QueryModel):
    """Whether a file is to be shown rather than saved."""

    inline: bool = False


async def read_file(request: web.Request) -> web.StreamResponse:
    """`GET /jobs/{id}/files/{name}`: from the job's own directory, never run in our origin."""
    wanted = query(request, FileQuery)
    job = await find_job(request)
    return await send_output(request, job, request.match_info["name"], inline=wanted.inline)


async def send_output(request: web.Request, job: Job, name: str, *, inline: bool) -> web.StreamResponse:
    """The job's output file of that name. Raises `Problem`."""
    file = next((file for file in job.files if file.name == name), None)
    if file is None:
        raise Problem("not-found", "The job has no such file.")
    headers = {
        "Content-Type": file.content_type,
        "Content-Disposition": _disposition(name, inline=inline),
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": SANDBOX,
        **PRIVATE,
    }
    return await send_file(request, request.app[FILES].output_file(job.id, name), headers)


def _disposition(name: str, *, inline: bool) -> str:
    """RFC 6266: the name twice, in ASCII for those who know no other (its appendix D)."""
    ascii_name = re.sub(r"[^ !#-\[\]-~]|%", "_", name)
    kind = "inline" if inline else "attachment"
    return f"{kind}; filename=\"{ascii_name}\"; filename*=UTF-8''{path_segment(name)}"
