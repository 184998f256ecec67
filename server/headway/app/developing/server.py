"""The server that `headway dev` runs: one whose job types change with their files."""

import asyncio
from collections.abc import Callable

from ...authoring.job_types import ChangingRegistry
from ...running.processes.changing import ChangingProcesses
from ..headway import Headway
from ..preparing import Prepared
from ..rooms import Rooms
from .preparing import Authored
from .reloading import Reloader


class DevelopmentServer(Headway):
    """Reloads job types while it listens."""

    def __init__(self, prepared: Prepared, authored: Authored) -> None:
        """With what `prepare_to_reload` has made."""
        super().__init__(prepared=prepared)
        self._authored = authored

    async def _serve(self, rooms: Rooms, announce: Callable[[str], None], stop: asyncio.Event) -> None:
        assert isinstance(rooms.registry, ChangingRegistry)  # noqa: S101 - as it was prepared
        assert isinstance(rooms.processes, ChangingProcesses)  # noqa: S101
        reloader = Reloader(self._settings, self._authored, rooms.registry, rooms.processes)
        loop = rooms.loops.start("reloading", reloader.watch, until=lambda: reloader.stopping)
        try:
            await super()._serve(rooms, announce, stop)
        finally:
            reloader.stop()
            await loop.stop()
