"""How a server's child processes start: forked from a nursery where that is possible, otherwise as new interpreters."""

from collections.abc import Iterable

from .forking import Forking, UnfitModuleError
from .keeping import KeeperProcess
from .spawning import Spawning
from .starting import Child


class Processes:
    """Starts a child for each attempt (`StartsChildren`). Between `open` and `close`, children wait ready."""

    def __init__(self, sources: Iterable[str], spares: int, prepared: KeeperProcess | None = None) -> None:
        """`sources`: the modules of the `def` job types, by name or path; without any, nothing is forked.

        `spares`: how many children wait ready. `prepared`: what `fork_keeper` has returned.
        """
        self._spawning = Spawning()
        modules = list(dict.fromkeys(sources))
        self._forking = Forking(modules, spares, prepared) if modules else None

    async def open(self) -> None:
        """Begin to make children ready. Raises `OSError`."""
        if self._forking is not None:
            await self._forking.open()

    async def close(self) -> None:
        """End what has been started. No attempt runs any more."""
        if self._forking is not None:
            await self._forking.close()

    async def start(self, source: str, job_type: str) -> Child:
        """A child that waits for an attempt of the type called `job_type`, of the module `source`. Raises `OSError`."""
        if self._forking is not None:
            try:
                return await self._forking.start(source, job_type)
            except UnfitModuleError:
                pass
        return await self._spawning.start(source, job_type)
