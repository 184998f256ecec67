"""The application: its routes, what every answer carries, and how it starts and ends."""

from collections.abc import AsyncIterator

from aiohttp import web
from aiohttp.log import server_logger

from ..authoring.job_types import Registry
from ..domain.ids import JobIds
from ..links import Links
from ..metrics import Metrics
from ..ports.events import EventHub
from ..ports.files import FileStore
from ..ports.jobs import JobStore
from ..ports.keys import KeyStore
from ..ports.record import RecordKeeper
from ..representation import Encoder
from ..service.readiness import Readiness
from ..service.waiting import Waiting
from ..settings import Settings
from .connections.limits import CONNECTIONS, Connections
from .connections.lost_clients import LostClients
from .connections.stalled_bodies import patience
from .identity.clients import CLIENTS, Clients
from .identity.gate import GATE, Gate
from .identity.rates import RATES, Rates
from .identity.revocation import Revocations
from .identity.tickets import TICKETS, Tickets
from .keys import (
    AUDIENCES,
    ENCODER,
    FAN_OUT,
    FILES,
    HUB,
    IDS,
    KEEPER,
    KEYS,
    LOST_CLIENTS,
    METRICS,
    READINESS,
    READY,
    REGISTRY,
    SETTINGS,
    STATE,
    STORE,
    STREAMS,
    WAITING,
    ServerState,
)
from .links import LINKS
from .middleware import middleware
from .openapi import DESCRIPTION, Description
from .problems import ClientFaults
from .request_ids import REQUEST_ID, request_id
from .requests.submissions import refuse_unread
from .responses.ready import ReadyAnswers, harden
from .routes import add_routes
from .streams.audiences import Audiences
from .streams.fan_out import FanOut
from .streams.open_streams import OpenStreams

MAX_LINE_BYTES = 32 * 1024
"""Of a request's first line and of each header: an odd id of 8 kB is a 404 of ours, not the parser's 400."""


def make_app(
    store: JobStore,
    keeper: RecordKeeper,
    keys: KeyStore,
    hub: EventHub,
    registry: Registry,
    files: FileStore,
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
    app[LOST_CLIENTS] = LostClients()
    app[WAITING] = Waiting(store, hub, most=settings.max_waits, most_per_client=settings.max_waits_per_client)
    app[DESCRIPTION] = Description(registry, settings)
    app.cleanup_ctx.extend([_streams, app[LOST_CLIENTS].run, app[CONNECTIONS].run, Revocations(hub).run, patience])
    app.on_shutdown.extend([refuse_unread, _end_streams])
    app.on_response_prepare.append(_harden)
    add_routes(app)
    if not server_logger.filters:
        server_logger.addFilter(ClientFaults())
    return app


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
