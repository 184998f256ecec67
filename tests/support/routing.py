"""The application of a server, for its routes alone: it answers nothing."""

from typing import Any

from aiohttp import web
from headway.authoring.job_types import Registry
from headway.loops import Loops
from headway.metrics import Metrics
from headway.ports.backend import Backend
from headway.settings import Settings
from headway.web.application import make_app


def app_with_routes(registry: Registry) -> web.Application:
    nothing: Any = None
    backend = Backend(
        store=nothing, actions=nothing, hub=nothing, keys=nothing, outbox=nothing, keeper=nothing, audit=nothing
    )
    return make_app(
        nothing, backend=backend, registry=registry, settings=Settings(), metrics=Metrics(), loops=Loops()
    )  # fmt: skip
