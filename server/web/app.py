"""The application: its routes, what every answer carries, and how it starts and ends."""

from collections.abc import AsyncIterator, Sequence
from functools import partial

from aiohttp import hdrs, web
from aiohttp.log import server_logger
from aiohttp.typedefs import Handler

from ..files import DataDirectory
from ..handlers import JobType, Registry
from ..jobs import JobIds
from ..metrics import Metrics
from ..ports import EventHub, JobStore, KeyStore, RecordKeeper
from ..settings import Settings
from . import (
    accepting,
    deliveries,
    ended,
    endpoints,
    exposition,
    operations_azure,
    operations_google,
    pages,
    polling,
    sessions,
    stream,
    stream_of_many,
    ticketing,
)
from .audiences import Audiences
from .auth import GATE, Gate
from .clients import CLIENTS, Clients
from .connections import CONNECTIONS, Connections
from .fan_out import FanOut
from .keys import (
    AUDIENCES,
    ENCODER,
    FAN_OUT,
    FILES,
    HUB,
    IDS,
    KEEPER,
    KEYS,
    METRICS,
    READY,
    REGISTRY,
    SETTINGS,
    STATE,
    STORE,
    STREAMS,
    WAITING,
    ServerState,
)
from .limits import patience
from .links import LINKS, Links
from .middleware import middleware
from .open_streams import OpenStreams
from .openapi import DESCRIPTION, Description, openapi
from .problems import ClientFaults, Problem
from .rates import RATES, Rates
from .readiness import READINESS, Readiness
from .ready import ReadyAnswers, harden
from .request_ids import REQUEST_ID, request_id
from .resources import resource_routes
from .revocation import Revocations
from .submission import refuse_unread
from .tickets import TICKETS, Tickets
from .waiting import Waiting
from .wire import Encoder

MAX_LINE_BYTES = 32 * 1024
"""Of a request's first line and of each header: an odd id of 8 kB is a 404 of ours, not the parser's 400."""


def make_app(
    store: JobStore,
    keeper: RecordKeeper,
    keys: KeyStore,
    hub: EventHub,
    registry: Registry,
    files: DataDirectory,
    settings: Settings,
    metrics: Metrics,
) -> web.Application:
    """The HTTP side of one server. It closes nothing that it was given."""
    tickets = Tickets(keys)
    gate = Gate(settings, keys, tickets)
    app = web.Application(middlewares=[middleware(gate, metrics.requests, lines=settings.access_log)])
    app[STORE] = store
    app[KEEPER] = keeper
    app[KEYS] = keys
    app[TICKETS] = tickets
    app[GATE] = gate
    app[HUB] = hub
    app[REGISTRY] = registry
    app[FILES] = files
    app[SETTINGS] = settings
    app[METRICS] = metrics
    app[IDS] = JobIds()
    app[LINKS] = Links(settings.public_url)
    app[ENCODER] = Encoder(app[LINKS])
    app[STATE] = ServerState()
    app[READY] = ReadyAnswers()
    app[CLIENTS] = Clients(settings.trusted_proxies)
    app[RATES] = Rates(settings)
    app[READINESS] = Readiness(store)
    app[STREAMS] = OpenStreams(settings)
    app[CONNECTIONS] = Connections(settings)
    app[FAN_OUT] = FanOut(store, hub, app[ENCODER])
    app[AUDIENCES] = Audiences(store, hub, app[ENCODER], settings.tick_s)
    app[WAITING] = Waiting(store, hub, settings)
    app[DESCRIPTION] = Description(registry, settings)
    app.cleanup_ctx.extend([_streams, app[WAITING].run, app[CONNECTIONS].run, Revocations(hub).run, patience])
    app.on_shutdown.extend([refuse_unread, _end_streams])
    app.on_response_prepare.append(_harden)
    _add_routes(app)
    if not server_logger.filters:
        server_logger.addFilter(ClientFaults())
    return app


def _add_routes(app: web.Application) -> None:
    """The first match wins: fixed paths before those with a parameter, those that are asked for most before others.

    Routes of one path stand together: aiohttp then makes them one resource, and looks at it once.
    """
    routes = [
        ("GET", "/jobs/progress", stream_of_many.jobs_stream),
        ("GET", "/jobs/stats", endpoints.stats),
        ("GET", "/jobs/{id}", polling.read_job),
        ("POST", "/jobs/{id}", accepting.create_typed_job),
        ("DELETE", "/jobs/{id}", endpoints.delete_job),
        ("GET", "/jobs/{id}/progress", stream.job_stream),
        ("GET", "/jobs/{id}/result", endpoints.read_result),
        ("DELETE", "/jobs/{id}/result", ended.delete_result),
        ("GET", "/jobs/{id}/logs", endpoints.read_logs),
        ("GET", "/jobs/{id}/files/{name}", endpoints.read_file),
        ("POST", "/jobs/{id}/retry", ended.retry_job),
        ("GET", "/jobs/{id}/deliveries", deliveries.list_deliveries),
        ("POST", "/jobs/{id}/deliveries/{deliveryId}/redeliver", deliveries.redeliver),
        ("POST", "/jobs/{id}/tickets", ticketing.make_ticket),
        ("GET", "/jobs", endpoints.list_jobs),
        ("POST", "/jobs", accepting.create_job),
        ("GET", "/job-types", endpoints.job_types),
        ("GET", "/session", sessions.read_session),
        ("POST", "/session", sessions.open_session),
        ("DELETE", "/session", sessions.end_session),
        ("GET", "/operations/{id}", operations_azure.read_operation),
        ("GET", "/v1/jobs/operations", operations_google.list_operations),
        ("GET", "/v1/jobs/operations/{id:[^/:]+}", operations_google.read_operation),
        ("DELETE", "/v1/jobs/operations/{id:[^/:]+}", operations_google.delete_operation),
        ("POST", "/v1/jobs/operations/{id}:cancel", operations_google.cancel_operation),
        ("GET", "/healthz", endpoints.healthz),
        ("GET", "/readyz", endpoints.readyz),
        ("GET", "/metrics", exposition.metrics),
        ("GET", "/openapi.json", openapi),
        ("GET", "/docs", pages.docs),
        ("GET", "/", pages.index),
        ("GET", "/static/{path:.+}", pages.static_file),
        *(_of_one_type(job_type) for job_type in app[REGISTRY]),
        *resource_routes(app[REGISTRY]),
    ]
    for method, path, endpoint in routes:
        add = app.router.add_get if method == "GET" else partial(app.router.add_route, method)
        add(path, endpoint, expect_handler=_expect)
        if path.startswith("/jobs/") and "{" not in path:
            allowed = [hdrs.METH_GET, hdrs.METH_HEAD] if method == "GET" else [method]
            app.router.add_route(hdrs.METH_ANY, path, _only(allowed), expect_handler=_expect)


def _of_one_type(job_type: JobType) -> tuple[str, str, Handler]:
    return ("POST", f"/jobs/{job_type.name}", partial(accepting.create_job_of_type, name=job_type.name))


def _only(allowed: Sequence[str]) -> Handler:
    """For a path that reads like that of a job and is none, whatever the method."""

    async def refuse(request: web.Request) -> web.StreamResponse:
        raise web.HTTPMethodNotAllowed(request.method, allowed)

    return refuse


async def _expect(request: web.Request) -> web.StreamResponse | None:
    """`Expect` (RFC 9110, 10.1.1), refused as a problem where aiohttp would answer in plain text.

    Whoever may not ask is told before he sends the body.
    """
    if request.headers.get(hdrs.EXPECT, "").lower() != "100-continue":
        return Problem("expectation-failed").response(request)
    try:
        await request.app[GATE].admit(request)
    except Problem as problem:
        return problem.response(request)
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0
    return None


async def _harden(request: web.Request, response: web.StreamResponse) -> None:
    """What every answer carries."""
    harden(response.headers)
    response.headers[REQUEST_ID] = request_id(request)
    request.app[GATE].origins.mark(request, response)


async def _streams(app: web.Application) -> AsyncIterator[None]:
    app[STREAMS].start()
    app[FAN_OUT].start()
    app[AUDIENCES].start()
    yield
    await app[AUDIENCES].stop()
    await app[FAN_OUT].stop()


async def _end_streams(app: web.Application) -> None:
    """In `on_shutdown`, not in the clean-up: aiohttp waits for open requests between the two."""
    await app[STREAMS].stop()
