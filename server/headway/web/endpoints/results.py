"""`/jobs/{id}/result`: read it, delete it."""

from aiohttp import web

from ...domain.jobs import Status
from ...service.waiting import has_ended
from ..identity.gate import caller
from ..parts import parts
from ..requests.query import NoQuery, query
from ..responses.headers import is_held
from ..responses.json import PRIVATE
from ..responses.representations import representation
from .jobs import WaitQuery, job_after_waiting


async def delete_result(request: web.Request) -> web.Response:
    """`DELETE /jobs/{id}/result`: deletes result and output files, keeps the record."""
    query(request, NoQuery)
    await parts(request).service.results.delete(caller(request), request.match_info["id"])
    return web.Response(status=204)


async def read_result(request: web.Request) -> web.Response:
    """`GET /jobs/{id}/result`: where a failed job is an HTTP error."""
    wanted = query(request, WaitQuery)
    job, applied = await job_after_waiting(request, wanted.wait, has_ended)
    headers, version = {**PRIVATE, **applied}, str(job.version)
    if job.status is Status.COMPLETED and job.result_bytes is not None and is_held(request, version):
        return await representation(request, b"", headers, tag=version)  # it need not be read from disk
    value = await parts(request).service.results.value(job)
    return await representation(request, value, headers, tag=version)
