"""What was opened with an API key ends when the key is revoked: a stream may have been open for days."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator

from aiohttp import web

from ..ports import Bell, EventHub, Listener
from .auth import identity

LISTEN_S = 60.0


class Revocations:
    """Hears of keys that are revoked and cuts what is open in their name."""

    def __init__(self, hub: EventHub) -> None:
        self._hub = hub
        self._open: defaultdict[str, set[Callable[[], None]]] = defaultdict(set)

    @contextlib.contextmanager
    def following(self, request: web.BaseRequest, cut: Callable[[], None]) -> Iterator[None]:
        """Meanwhile `cut` is called if the key is revoked that the request came with."""
        key = identity(request).key
        if key is None:
            yield
            return
        self._open[key.id].add(cut)
        try:
            yield
        finally:
            self._open[key.id].discard(cut)
            if not self._open[key.id]:
                del self._open[key.id]

    async def run(self, _app: web.Application) -> AsyncIterator[None]:
        """A part of the application's clean-up context."""
        listener = self._hub.listen(Bell.REVOKED)
        watch = asyncio.create_task(self._hear(listener), name="revocations")
        yield
        listener.close()
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch

    async def _hear(self, listener: Listener) -> None:
        while not self._hub.closed:
            for key_id in await listener.wait(LISTEN_S):
                for cut in list(self._open.get(key_id, ())):
                    cut()


REVOCATIONS = web.AppKey("revocations", Revocations)
