"""What is under way in the name of an API key ends when the key is revoked: a stream or a download may take days, and a
body that is still coming would become a job.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from aiohttp import web

from ...ports.events import Bell, EventHub, Listener
from ..connections.limits import CONNECTIONS, Connections

LISTEN_S = 60.0


class Revocations:
    """Hears of keys that are revoked and cuts the connections on which they were used last.

    By the connection, not by the request: so nothing is missed that began an instant ago, and polls pay nothing.
    """

    def __init__(self, hub: EventHub) -> None:
        self._hub = hub

    async def run(self, app: web.Application) -> AsyncIterator[None]:
        """A part of the application's clean-up context."""
        listener = self._hub.listen(Bell.REVOKED)
        watch = asyncio.create_task(self._hear(listener, app[CONNECTIONS]), name="revocations")
        yield
        listener.close()
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch

    async def _hear(self, listener: Listener, connections: Connections) -> None:
        while not self._hub.closed:
            connections.cut(await listener.wait(LISTEN_S))
