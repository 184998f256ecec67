"""The job that a request's path names."""

from aiohttp import web

from ...domain.jobs import Job
from ..identity.gate import caller
from ..parts import parts


async def find_job(request: web.Request) -> Job:
    """Raises `JobNotFoundError`."""
    return await parts(request).service.reading.job(caller(request), request.match_info["id"])
