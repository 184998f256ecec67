"""Requests that wait for a job: counted by client and owner, and ended when their client disconnects."""

from collections.abc import Callable

from aiohttp import web

from ..domain.jobs import Job
from ..service.waiting import has_ended
from .identity.gate import caller, client, keys_owner
from .parts import parts


async def wait_for_job(
    request: web.Request, job_id: str, wait_s: float, enough: Callable[[Job], bool] = has_ended
) -> Job:
    """See `Waiting.until`. The task is cancelled when the client disconnects."""
    waiting = parts(request).service.waiting
    with parts(request).lost_clients.cancelling(request):
        return await waiting.until(
            caller(request), job_id, wait_s, enough, client=client(request), owner=keys_owner(request)
        )
