"""Both clients, driven alike: what a test does with `Client` is done with `AsyncClient` too."""

import asyncio
import inspect
from collections.abc import Callable, Iterator
from typing import Any

from headway.client import AsyncClient, AsyncFiles, AsyncJob, Client

KINDS = ("blocking", "asyncio")
Opening = Callable[..., Client]


class _InLoop:
    """An object of asyncio's twin, with methods that block."""

    def __init__(self, loop: asyncio.AbstractEventLoop, twin: Any) -> None:
        self._loop, self._twin = loop, twin

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._twin, name)
        if not inspect.ismethod(value):
            return self._blocking(value)
        return lambda *arguments, **options: self._blocking(value(*arguments, **options))

    def __iter__(self) -> Iterator[Any]:
        return self._items(aiter(self._twin))

    def _blocking(self, value: Any) -> Any:
        if inspect.iscoroutine(value):
            value = self._loop.run_until_complete(value)
        if inspect.isasyncgen(value):
            return self._items(value)
        return _InLoop(self._loop, value) if isinstance(value, AsyncJob | AsyncFiles) else value

    def _items(self, generator: Any) -> Iterator[Any]:
        try:
            while True:
                try:
                    item = self._loop.run_until_complete(anext(generator))
                except StopAsyncIteration:
                    return
                yield self._blocking(item)
        finally:
            self._loop.run_until_complete(generator.aclose())


def opened(kind: str, url: str, api_key: str | None = None, **options: Any) -> Any:
    """A client of this kind, with the methods of `Client`."""
    if kind == "blocking":
        return Client(url, api_key, **options)
    return _InLoop(asyncio.new_event_loop(), AsyncClient(url, api_key, **options))


def closed(client: Any) -> None:
    client.close()
    if isinstance(client, _InLoop):
        client._loop.close()
