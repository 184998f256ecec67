"""What the endpoints share, by typed application key."""

from dataclasses import dataclass, field

from aiohttp import StreamReader, web

from ..addresses import AllowList
from ..files import DataDirectory
from ..handlers import Registry
from ..jobs import JobIds
from ..metrics import Metrics
from ..ports import EventHub, JobStore, KeyStore, Outbox, RecordKeeper
from ..settings import Settings
from .audiences import Audiences
from .fan_out import FanOut
from .open_streams import OpenStreams
from .ready import ReadyAnswers
from .waiting import Waiting
from .wire import Encoder


@dataclass(slots=True)
class ServerState:
    """Whether the server still takes work, and the submissions whose bodies are still coming."""

    stopping: bool = False
    reading: set[StreamReader] = field(default_factory=set)


STORE = web.AppKey("store", JobStore)
HUB = web.AppKey("hub", EventHub)
REGISTRY = web.AppKey("registry", Registry)
FILES = web.AppKey("files", DataDirectory)
SETTINGS = web.AppKey("settings", Settings)
IDS = web.AppKey("ids", JobIds)
ENCODER = web.AppKey("encoder", Encoder)
STATE = web.AppKey("state", ServerState)
KEEPER = web.AppKey("keeper", RecordKeeper)
OUTBOX = web.AppKey("outbox", Outbox)
ALLOWED = web.AppKey("allowed", AllowList)
METRICS = web.AppKey("metrics", Metrics)
STREAMS = web.AppKey("streams", OpenStreams)
WAITING = web.AppKey("waiting", Waiting)
READY = web.AppKey("ready", ReadyAnswers)
FAN_OUT = web.AppKey("fan_out", FanOut)
KEYS = web.AppKey("keys", KeyStore)
AUDIENCES = web.AppKey("audiences", Audiences)
