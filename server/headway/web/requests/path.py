"""The endpoints of one job and of lists: everything but polls, submissions' reading and the streams."""

from aiohttp import web

from ...clock import utc_now
from ...domain.ids import is_job_id
from ...domain.jobs import Job
from ...errors import JobNotFoundError
from ..identity.gate import caller
from ..keys import STORE


async def find_job(request: web.Request) -> Job:
    """The job that the path names. Raises `JobNotFoundError`, from the instant at which it expires."""
    job = await request.app[STORE].get(caller(request).sees, job_id_of(request))
    if job.expires_at is not None and job.expires_at <= utc_now():
        raise JobNotFoundError(job.id)
    return job


def job_id_of(request: web.Request) -> str:
    job_id = request.match_info["id"]
    if not is_job_id(job_id):
        raise JobNotFoundError(job_id)
    return job_id
