"""The aiohttp application: its routes, the headers of every response, and how it starts and ends."""

from collections.abc import AsyncIterator

from aiohttp import web
from aiohttp.log import server_logger

from ..authoring.job_types import Registry
from ..links import Links
from ..loops import Loops
from ..metrics import Metrics
from ..ports.backend import Backend
from ..representation import Encoder
from ..service.service import Service
from ..settings import Settings
from ..turns import Turns
from .connections.arriving_bodies import ArrivingBodies
from .connections.limits import CONNECTIONS, Connections
from .connections.slow_readers import SLOW_READERS, SlowReaders
from .connections.stalled_bodies import StalledBodies
from .connections.unauthenticated_bodies import UnauthenticatedBodies
from .identity.clients import CLIENTS, Clients
from .identity.gate import GATE, Gate
from .identity.penalties import PENALTIES, Penalties
from .identity.rates import RATES, Rates
from .identity.refusals import REFUSALS, Refusals
from .identity.revocation import Revocations
from .identity.tickets import TICKETS, Tickets
from .links import LINKS
from .middleware import middleware
from .openapi import DESCRIPTION, Description
from .parts import PARTS, Parts
from .problems import ClientFaults
from .request_ids import REQUEST_ID, request_id
from .requests.submissions import refuse_unread
from .responses.accepted import AcceptedResponses
from .responses.ready import harden
from .routes import add_routes
from .streams.audiences import Audiences
from .streams.fan_out import FanOut
from .streams.open_streams import OpenStreams, StreamLimits
from .streams.snapshots import ManySnapshots

MAX_LINE_BYTES = 32 * 1024
"""The limit for a request's first line: an id of 8 kB gets a 404, not the parser's 400."""
MAX_FIELD_BYTES = 8 * 1024
"""The limit for each header, which is what proxies have. Lists in them are parsed at up to a microsecond a byte."""


def make_app(
    service: Service,
    *,
    backend: Backend,
    registry: Registry,
    settings: Settings,
    metrics: Metrics,
    loops: Loops,
) -> web.Application:
    """The HTTP side of one server. It closes nothing that it was given."""
    tickets = Tickets(backend.keys)
    gate = Gate(settings, backend.keys, tickets)
    app = web.Application(middlewares=[middleware(gate, metrics.requests, lines=settings.access_log)])
    app[GATE] = gate
    app[TICKETS] = tickets
    app[LINKS] = links = Links(settings.public_url)
    app[DESCRIPTION] = Description(registry, settings)
    app[REFUSALS] = Refusals(backend.audit)
    _limit_clients(app, settings)
    encoder, turns = Encoder(links), Turns()
    app[PARTS] = Parts(
        service=service,
        store=backend.store,
        hub=backend.hub,
        keeper=backend.keeper,
        audit=backend.audit,
        keys=backend.keys,
        registry=registry,
        settings=settings,
        metrics=metrics,
        loops=loops,
        encoder=encoder,
        accepted=AcceptedResponses(registry, links),
        streams=OpenStreams(_stream_limits(settings)),
        fan_out=FanOut(backend.store, backend.hub, encoder),
        slow_readers=app[SLOW_READERS],
        arriving=ArrivingBodies(settings.max_body_bytes),
        unauthenticated_bodies=UnauthenticatedBodies(settings.body_timeout_s),
        audiences=Audiences(backend.store, backend.hub, encoder, settings.tick_s),
        snapshots=ManySnapshots(backend.store, encoder, turns),
        turns=turns,
    )
    app.on_startup.append(_name_cookie)
    app.cleanup_ctx.extend([_streams, _checks])
    app.on_shutdown.extend([refuse_unread, app[PENALTIES].stop, _end_streams])
    app.on_response_prepare.append(_harden)
    add_routes(app)
    if not server_logger.filters:
        server_logger.addFilter(ClientFaults())
    return app


def _limit_clients(app: web.Application, settings: Settings) -> None:
    """What says how much each client, owner and address may ask for, and holds them to it."""
    app[CLIENTS] = clients = Clients(settings.trusted_proxies)
    app[RATES] = Rates(
        submissions_per_minute=settings.submissions_per_minute,
        lists_per_minute=settings.lists_per_minute,
        snapshots_per_minute=max(settings.lists_per_minute, settings.max_streams_per_owner),
        failed_sign_ins_per_minute=settings.failed_sign_ins_per_minute,
        shared=settings.exposed,
    )
    app[PENALTIES] = Penalties(settings.max_body_bytes, shared=settings.exposed)
    app[CONNECTIONS] = Connections(
        most=settings.max_connections,
        head_timeout_s=settings.head_timeout_s,
        stall_timeout_s=settings.stream_stall_timeout_s,
        address_of=clients.of_peer if settings.key_needed else None,
    )
    app[SLOW_READERS] = SlowReaders(settings.stream_stall_timeout_s)


def _stream_limits(settings: Settings) -> StreamLimits:
    return StreamLimits(
        most=settings.max_streams,
        most_per_client=settings.max_streams_per_client,
        most_per_owner=settings.max_streams_per_owner,
        heartbeat_s=settings.heartbeat_s,
        stall_timeout_s=settings.stream_stall_timeout_s,
    )


async def _harden(request: web.Request, response: web.StreamResponse) -> None:
    """The headers of every response."""
    harden(response.headers)
    response.headers[REQUEST_ID] = request_id(request)
    request.app[GATE].origins.mark(request, response)


async def _name_cookie(app: web.Application) -> None:
    await app[GATE].start()


async def _streams(app: web.Application) -> AsyncIterator[None]:
    parts = app[PARTS]
    parts.streams.start(parts.loops)
    parts.fan_out.start(parts.loops)
    parts.audiences.start(parts.loops)
    yield
    await parts.audiences.stop()
    await parts.fan_out.stop()


async def _checks(app: web.Application) -> AsyncIterator[None]:
    """The loops that end connections: of clients that are gone or too slow, and of keys that are revoked."""
    parts = app[PARTS]
    stalled_bodies = StalledBodies(parts.arriving.contents, timeout_s=parts.settings.body_timeout_s)
    running = [
        parts.lost_clients.start(parts.loops),
        app[CONNECTIONS].start(parts.loops),
        Revocations(parts.hub, app[CONNECTIONS]).start(parts.loops),
        parts.slow_readers.start(parts.loops),
        stalled_bodies.start(parts.loops),
        app[REFUSALS].start(parts.loops),
    ]
    yield
    app[REFUSALS].flush()
    for loop in running:
        await loop.stop()


async def _end_streams(app: web.Application) -> None:
    """In `on_shutdown`, not in the clean-up: aiohttp waits for open requests between the two."""
    await app[PARTS].streams.stop()
