"""A child for each attempt, forked from a process that has the modules loaded."""

from collections.abc import Iterable

from ..nursery import GENERAL
from .children import ForkedChild
from .keeper import Keeper, UnfitModuleError
from .keeping import KeeperProcess
from .nurseries import Nursery


class Forking:
    """Forks children from nurseries."""

    def __init__(self, sources: Iterable[str], spares: int, prepared: KeeperProcess | None = None) -> None:
        """`sources`: the modules to load, by name or path. `spares`: how many children wait ready.

        `prepared`: a keeper that has been forked from this process.
        """
        self._keeper = Keeper(sources, prepared)
        self._general = Nursery(GENERAL, spares, self._keeper)

    async def open(self) -> None:
        """Begin to make children ready. Raises `OSError`."""
        self._keeper.open()

    async def close(self) -> None:
        """End all processes. Attempts have ended before."""
        await self._general.close()
        await self._keeper.close()
        self._general.forget()

    async def start(self, source: str, job_type: str) -> ForkedChild:  # noqa: ARG002 - its attempt names it too
        """A child that waits for its attempt. Raises `UnfitModuleError`, and `OSError` if there is no room for it."""
        if source not in self._keeper.sources:
            raise UnfitModuleError(source)
        return await self._general.start(source)
