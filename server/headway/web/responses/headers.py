"""Headers that describe a job's state."""

from aiohttp import hdrs, web

from ...domain.jobs import Job


def etag(job: Job) -> str:
    """Weak, because two responses for one version may differ in `queuePosition` (RFC 9110, 8.8.1)."""
    return f'W/"{job.version}"'


def is_held(request: web.BaseRequest, tag: str) -> bool:
    """Whether the client has this version already: `If-None-Match` by weak comparison (RFC 9110, 13.1.2)."""
    given = request.headers.get(hdrs.IF_NONE_MATCH)
    if given is None:
        return False
    return given.strip() == "*" or any(held.value == tag for held in request.if_none_match or ())
