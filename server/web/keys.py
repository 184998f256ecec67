"""What the endpoints share, by typed application key."""

from dataclasses import dataclass

from aiohttp import web

from ..files import DataDirectory
from ..handlers import Registry
from ..jobs import JobIds
from ..ports import EventHub, JobStore
from ..settings import Settings
from .open_streams import OpenStreams
from .wire import Encoder


@dataclass(slots=True)
class ServerState:
    """Whether the server still takes work."""

    stopping: bool = False


STORE = web.AppKey("store", JobStore)
HUB = web.AppKey("hub", EventHub)
REGISTRY = web.AppKey("registry", Registry)
FILES = web.AppKey("files", DataDirectory)
SETTINGS = web.AppKey("settings", Settings)
IDS = web.AppKey("ids", JobIds)
ENCODER = web.AppKey("encoder", Encoder)
STATE = web.AppKey("state", ServerState)
STREAMS = web.AppKey("streams", OpenStreams)
