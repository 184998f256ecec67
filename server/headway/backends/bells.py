"""Bells within one process: the embedded `EventHub`."""

import asyncio
from collections import defaultdict
from collections.abc import Collection

from ..ports.events import Bell


class LocalListener:
    """Holds the ids that rang since it was last asked. It is a set, so a storm of bells costs one id."""

    def __init__(self, hub: "LocalHub", bell: Bell, job_id: str | None) -> None:
        self.bell = bell
        self.job_id = job_id
        """Whose bell it listens to; `None`: everybody's."""
        self._hub = hub
        self._rung: set[str] = set()
        self._wake = asyncio.Event()

    def notify(self, job_ids: Collection[str]) -> None:
        """Called by the hub when a bell rings."""
        self._rung.update(job_ids)
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
        self._hub.forget(self)


class LocalHub:
    """All listeners are in this process, so ringing is a function call."""

    def __init__(self) -> None:
        self._to_all: dict[Bell, set[LocalListener]] = {bell: set() for bell in Bell}
        self._to_one: dict[Bell, defaultdict[str, set[LocalListener]]] = {bell: defaultdict(set) for bell in Bell}
        self._closed = False

    @property
    def closed(self) -> bool:
        return self._closed

    def ring(self, bell: Bell, job_id: str) -> None:
        for listener in self._to_all[bell]:
            listener.notify((job_id,))
        to_one = self._to_one[bell]
        if to_one and job_id in to_one:
            for listener in to_one[job_id]:
                listener.notify((job_id,))

    def ring_all(self, bell: Bell, job_ids: Collection[str]) -> None:
        for listener in self._to_all[bell]:
            listener.notify(job_ids)
        to_one = self._to_one[bell]
        if to_one:
            for job_id in job_ids:
                for listener in to_one.get(job_id, ()):
                    listener.notify((job_id,))

    def listen(self, bell: Bell, job_id: str | None = None) -> LocalListener:
        listener = LocalListener(self, bell, job_id)
        (self._to_all[bell] if job_id is None else self._to_one[bell][job_id]).add(listener)
        return listener

    def forget(self, listener: LocalListener) -> None:
        """Called by a listener that closes."""
        to_one = self._to_one[listener.bell]
        if listener.job_id is None:
            self._to_all[listener.bell].discard(listener)
        elif listener.job_id in to_one:
            to_one[listener.job_id].discard(listener)
            if not to_one[listener.job_id]:
                del to_one[listener.job_id]

    def close(self) -> None:
        self._closed = True
        for bell in Bell:
            for listeners in (self._to_all[bell], *self._to_one[bell].values()):
                for listener in listeners:
                    listener.wake()
