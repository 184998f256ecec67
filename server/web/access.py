"""What aiohttp calls at the end of each request: counts it, and if the operator wants that, logs it."""

import structlog
from aiohttp import web
from aiohttp.abc import AbstractAccessLogger
from aiohttp_sse import EventSourceResponse

from ..metrics import Answered
from .keys import ANSWERED, METRICS, SETTINGS
from .request_ids import request_id, taken_s

MAX_PATH_CHARS = 200
UNKNOWN_ROUTE = "unknown"
METHODS = frozenset({"GET", "HEAD", "POST", "DELETE", "OPTIONS", "PUT", "PATCH"})
OTHER_METHOD = "other"
AS_LONG_AS_THE_READER = (EventSourceResponse, web.FileResponse)
"""Answers whose time says nothing of the server."""

log = structlog.get_logger(__name__)


class AccessLogger(AbstractAccessLogger):
    """A line holds no query string and no header: there may be secrets in them."""

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:  # noqa: ARG002 - see taken_s
        if not isinstance(request, web.Request):
            return
        took_s = taken_s(request)
        if took_s is None:
            return  # what the parser refused; nobody knows what it was to be
        _count(request, response, took_s)
        if request.app[SETTINGS].access_log:
            log.info(
                "request",
                method=request.method,
                path=request.rel_url.raw_path[:MAX_PATH_CHARS],
                status=response.status,
                took_s=round(took_s, 4),
                request_id=request_id(request),
            )


def _count(request: web.Request, response: web.StreamResponse, took_s: float) -> None:
    route, status = request.match_info.route, response.status
    tallies = request.app[ANSWERED]
    tally = tallies.get((route, status))
    if tally is None:
        tally = _tally(request, route, status)
    tally.count += 1
    if not isinstance(response, AS_LONG_AS_THE_READER):
        tally.seconds.observe(took_s)


def _tally(request: web.Request, route: web.AbstractRoute, status: int) -> Answered:
    """Looked for once for each route and status; for what has no route, each time."""
    method = request.method if request.method in METHODS else OTHER_METHOD
    path = UNKNOWN_ROUTE if route.resource is None else route.resource.canonical
    tally = request.app[METRICS].requests.answered.setdefault((method, path, status), Answered())
    if route.resource is not None:
        request.app[ANSWERED][route, status] = tally
    return tally
