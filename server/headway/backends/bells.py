"""Bells within one process: the embedded `EventHub`."""

import asyncio
from collections import defaultdict

from ..ports.events import Bell

_Topic = tuple[Bell, str | None]


class LocalListener:
    """Holds the ids that rang since it was last asked. It is a set, so a storm of bells costs one id."""

    def __init__(self, hub: "LocalHub", topic: "_Topic") -> None:
        self._hub = hub
        self._topic = topic
        self._rung: set[str] = set()
        self._wake = asyncio.Event()

    def notify(self, job_id: str) -> None:
        """Called by the hub when a bell rings."""
        self._rung.add(job_id)
        self._wake.set()

    def wake(self) -> None:
        """Called by the hub when it closes."""
        self._wake.set()

    async def wait(self, timeout_s: float) -> frozenset[str]:
        if not self._rung and not self._hub.closed:
            self._wake.clear()
            try:
                async with asyncio.timeout(timeout_s):
                    await self._wake.wait()
            except TimeoutError:
                return frozenset()
        rung, self._rung = self._rung, set()
        return frozenset(rung)

    def close(self) -> None:
        self._hub.forget(self._topic, self)


class LocalHub:
    """All listeners are in this process, so ringing is a function call."""

    def __init__(self) -> None:
        self._listeners: defaultdict[_Topic, set[LocalListener]] = defaultdict(set)
        self._closed = False

    @property
    def closed(self) -> bool:
        return self._closed

    def ring(self, bell: Bell, job_id: str) -> None:
        for topic in ((bell, job_id), (bell, None)):
            for listener in self._listeners.get(topic, ()):
                listener.notify(job_id)

    def listen(self, bell: Bell, job_id: str | None = None) -> LocalListener:
        topic = (bell, job_id)
        listener = LocalListener(self, topic)
        self._listeners[topic].add(listener)
        return listener

    def forget(self, topic: _Topic, listener: LocalListener) -> None:
        """Called by a listener that closes."""
        listeners = self._listeners.get(topic)
        if listeners is not None:
            listeners.discard(listener)
            if not listeners:
                del self._listeners[topic]

    def close(self) -> None:
        self._closed = True
        for listeners in self._listeners.values():
            for listener in listeners:
                listener.wake()
