"""The one middleware: it gives each request an id, admits or rejects it, answers errors, counts, and can log.

One instead of three, and not aiohttp's access log, because polls are frequent.
"""

from contextlib import suppress
from time import perf_counter_ns
from typing import TypeGuard

import structlog
from aiohttp import HttpVersion10, HttpVersion11, web
from aiohttp.typedefs import Handler, Middleware
from aiohttp_sse import EventSourceResponse

from ..errors import JobHasFailedError
from ..metrics import Answered, RequestMetrics
from .connections.limits import Connection
from .connections.slow_readers import LARGE_BYTES, SLOW_READERS
from .identity.gate import Gate, has_key
from .identity.penalties import EXCUSED, PENALTIES
from .identity.refusals import REFUSALS
from .problems import Problem, answer_to
from .request_ids import follow
from .responses.ready import ReadyResponse, ready_problem

MAX_PATH_CHARS = 200
UNKNOWN_ROUTE = "unknown"
METHODS = frozenset({"GET", "HEAD", "POST", "DELETE", "OPTIONS", "PUT", "PATCH"})
OTHER_METHOD = "other"
VERSIONS = (HttpVersion11, HttpVersion10)
AS_LONG_AS_THE_READER = (EventSourceResponse, web.FileResponse)
"""Responses whose duration depends on the client; they are not timed."""

_other_version = Problem("malformed-request", "Only HTTP/1.1 and HTTP/1.0 are supported.")

log = structlog.get_logger(__name__)


def middleware(gate: Gate, metrics: RequestMetrics, *, lines: bool) -> Middleware:
    """With `lines`, each request is logged."""
    counts = _Counts(metrics, lines=lines)

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        began_ns = perf_counter_ns()  # not the loop's clock: uvloop's counts milliseconds
        follow(request, began_ns)
        response: web.StreamResponse
        try:
            if request.version not in VERSIONS:
                response = ready_problem(_other_version.response(request))
            elif (preflight := gate.origins.preflight(request)) is not None:
                response = preflight
            else:
                await gate.admit(request)
                response = await handler(request)
        except Exception as error:  # noqa: BLE001 - every one has an answer
            response = await answer_to(request, error)
            request.app[REFUSALS].note(request, error)
            if isinstance(error, JobHasFailedError):  # its status says nothing of the request
                request[EXCUSED] = True
            await request.app[PENALTIES].delay(request, response.status)
        if not request.content.is_eof() and isinstance(request.protocol, Connection):
            request.protocol.answered_early(response.status, known=has_key(request))
        counts.add(request, response, began_ns)
        if type(response) is not ReadyResponse and _is_large(response):
            await _send(request, response)
        return response

    return answer


class _Counts:
    """Counts and times requests by route and status."""

    def __init__(self, metrics: RequestMetrics, *, lines: bool) -> None:
        """With `lines`, each request is logged."""
        self._metrics = metrics
        self._lines = lines
        self._by_route: dict[tuple[web.AbstractRoute, int], Answered] = {}

    def add(self, request: web.Request, response: web.StreamResponse, began_ns: int) -> None:
        """Count a request that has its response."""
        route, status = request.match_info.route, response.status
        tally = self._by_route.get((route, status)) or self._tally_of(request, route, status)
        tally.count += 1
        took_s = (perf_counter_ns() - began_ns) / 1e9
        if type(response) is ReadyResponse or not isinstance(response, AS_LONG_AS_THE_READER):  # the first is quick
            tally.seconds.observe(took_s)
        if self._lines:
            _log(request, status, took_s)

    def _tally_of(self, request: web.Request, route: web.AbstractRoute, status: int) -> Answered:
        method = request.method if request.method in METHODS else OTHER_METHOD
        path = UNKNOWN_ROUTE if route.resource is None else route.resource.canonical
        tally = self._metrics.answered.setdefault((method, path, status), Answered())
        if route.resource is not None:  # aiohttp creates a new route for every request without one
            self._by_route[route, status] = tally
        return tally


def _is_large(response: web.StreamResponse) -> TypeGuard[web.Response]:
    return isinstance(response, web.Response) and isinstance(response.body, bytes) and len(response.body) > LARGE_BYTES


async def _send(request: web.Request, response: web.Response) -> None:
    """Send a large response, whose client has to read it. aiohttp, which would do it next, finds it sent."""
    with request.app[SLOW_READERS].watching(request.transport), suppress(ConnectionError):
        await response.prepare(request)
        await response.write_eof()


def _log(request: web.Request, status: int, took_s: float) -> None:
    """Log the request without its query string and headers, which may contain secrets."""
    path = request.rel_url.raw_path[:MAX_PATH_CHARS]
    log.info("request", method=request.method, path=path, status=status, took_s=round(took_s, 4))
