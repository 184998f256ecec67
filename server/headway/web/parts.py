"""What endpoints work with: one typed object in the application, under one key."""

import asyncio
from dataclasses import dataclass, field

from aiohttp import web

from ..authoring.job_types import Registry
from ..loops import Loops
from ..metrics import Metrics
from ..ports.audit import AuditTrail
from ..ports.events import EventHub
from ..ports.jobs import JobStore
from ..ports.keys import KeyStore
from ..ports.record import RecordKeeper
from ..representation import Encoder
from ..service.service import Service
from ..settings import Settings
from ..turns import Turns
from .connections.arriving_bodies import ArrivingBodies
from .connections.lost_clients import LostClients
from .connections.slow_readers import SlowReaders
from .connections.unauthenticated_bodies import UnauthenticatedBodies
from .responses.accepted import AcceptedResponses
from .responses.ready import ReadyAnswers
from .streams.audiences import Audiences
from .streams.fan_out import FanOut
from .streams.open_streams import OpenStreams
from .streams.snapshots import ManySnapshots


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The rooms behind the HTTP side, and what the HTTP side keeps of its own."""

    service: Service
    store: JobStore
    """For streams and polls, which read it at every bell."""
    hub: EventHub
    keeper: RecordKeeper
    audit: AuditTrail
    keys: KeyStore
    registry: Registry
    settings: Settings
    metrics: Metrics
    loops: Loops
    encoder: Encoder
    streams: OpenStreams
    fan_out: FanOut
    audiences: Audiences
    snapshots: ManySnapshots
    slow_readers: SlowReaders
    unauthenticated_bodies: UnauthenticatedBodies
    lost_clients: LostClients = field(default_factory=LostClients)
    accepted: AcceptedResponses
    ready: ReadyAnswers = field(default_factory=ReadyAnswers)
    arriving: ArrivingBodies
    turns: Turns
    parsing: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))
    """Held while a large body is parsed in a thread."""
    archiving: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))
    """Held while a piece of an archive is made in a thread."""
    compressing: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a large response is compressed in a thread."""


PARTS = web.AppKey("parts", Parts)


def parts(request: web.Request) -> Parts:
    """What the request's application works with."""
    return request.app[PARTS]
