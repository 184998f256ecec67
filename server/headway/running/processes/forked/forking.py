"""A child for each attempt, forked from a process that has the modules loaded."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from ..nursery import GENERAL
from .children import ForkedChild
from .keeper import Keeper, UnfitModuleError
from .keeping import KeeperProcess
from .nurseries import Nursery
from .preloading import NotSharedError, Preload, PreloadingNursery
from .stopped import CHECK_EVERY_S


class Forking:
    """Forks children from nurseries."""

    def __init__(
        self,
        sources: Iterable[str],
        spares: int,
        prepared: KeeperProcess | None = None,
        preloads: Iterable[Preload] = (),
        loaded: Callable[[], None] = lambda: None,
        cgroups: Path | None = None,
    ) -> None:
        """`sources`: the modules to load, by name or path. `spares`: how many children wait ready.

        `prepared`: a keeper that has been forked from this process. `preloads`: what types have a nursery of their own.
        `loaded` is called when attempts of one of these no longer have to wait for it. `cgroups`: where children have
        cgroups, if they have.
        """
        self._keeper = Keeper(sources, prepared, cgroups)
        self._general = Nursery(GENERAL, spares, self._keeper)
        self._own = {preload.job_type: PreloadingNursery(preload, self._keeper, loaded) for preload in preloads}
        self._checking: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Begin to make children ready. Raises `OSError`."""
        self._keeper.open()
        self._checking = asyncio.create_task(self._check(), name="forking-check")

    async def close(self) -> None:
        """End all processes. Attempts have ended before."""
        nurseries = [self._general, *self._own.values()]
        await asyncio.gather(*(nursery.close() for nursery in nurseries))
        await self._keeper.close()
        for nursery in nurseries:
            nursery.forget()
        if self._checking is not None:
            self._checking.cancel()

    async def _check(self) -> None:
        """Until all have ended: none of them, stopped, holds up a shutdown either."""
        processes: list[Keeper | Nursery] = [self._keeper, self._general, *self._own.values()]
        while True:
            await asyncio.sleep(CHECK_EVERY_S)
            for process in processes:
                process.check()

    async def loaded(self) -> None:
        """Wait until the modules have been loaded, or are left out because they cannot be."""
        await self._keeper.loaded.wait()

    def is_loading(self, job_type: str) -> bool:
        """Whether an attempt of this type would have to wait for a load."""
        return job_type in self._own and self._own[job_type].is_loading

    async def start(self, source: str, job_type: str) -> ForkedChild:
        """A child that waits for its attempt.

        Raises `UnfitModuleError`, `LoadFailedError`, and `OSError` if there is no room for it.
        """
        if source not in self._keeper.sources:
            raise UnfitModuleError(source)
        if job_type in self._own:
            with suppress(NotSharedError):
                return await self._own[job_type].start(source)
        return await self._general.start(source)
