"""What the endpoints share, by typed application key."""

from dataclasses import dataclass, field

from aiohttp import StreamReader, web

from ..authoring.job_types import Registry
from ..domain.addresses import AllowList
from ..domain.ids import JobIds
from ..metrics import Metrics
from ..ports.events import EventHub
from ..ports.files import FileStore
from ..ports.jobs import JobStore
from ..ports.keys import KeyStore
from ..ports.outbox import Outbox
from ..ports.record import RecordKeeper
from ..representation import Encoder
from ..service.readiness import Readiness
from ..service.waiting import Waiting
from ..settings import Settings
from .connections.lost_clients import LostClients
from .responses.ready import ReadyAnswers
from .streams.audiences import Audiences
from .streams.fan_out import FanOut
from .streams.open_streams import OpenStreams


@dataclass(slots=True)
class ServerState:
    """Whether the server still takes work, and the submissions whose bodies are still coming."""

    stopping: bool = False
    reading: set[StreamReader] = field(default_factory=set)


STORE = web.AppKey("store", JobStore)
HUB = web.AppKey("hub", EventHub)
REGISTRY = web.AppKey("registry", Registry)
FILES = web.AppKey("files", FileStore)
SETTINGS = web.AppKey("settings", Settings)
IDS = web.AppKey("ids", JobIds)
ENCODER = web.AppKey("encoder", Encoder)
STATE = web.AppKey("state", ServerState)
KEEPER = web.AppKey("keeper", RecordKeeper)
OUTBOX = web.AppKey("outbox", Outbox)
ALLOWED = web.AppKey("allowed", AllowList)
METRICS = web.AppKey("metrics", Metrics)
STREAMS = web.AppKey("streams", OpenStreams)
LOST_CLIENTS = web.AppKey("lost_clients", LostClients)
WAITING = web.AppKey("waiting", Waiting)
READY = web.AppKey("ready", ReadyAnswers)
FAN_OUT = web.AppKey("fan_out", FanOut)
KEYS = web.AppKey("keys", KeyStore)
AUDIENCES = web.AppKey("audiences", Audiences)

READINESS = web.AppKey("readiness", Readiness)
