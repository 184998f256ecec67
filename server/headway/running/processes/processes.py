"""How a server's child processes start: forked from a nursery where that is possible, otherwise as new interpreters."""

from collections.abc import Callable, Iterable
from pathlib import Path

from .forked.forking import Forking
from .forked.keeper import UnfitModuleError
from .forked.keeping import KeeperProcess
from .forked.preloading import Preload
from .kept import KeptPartners
from .partner import Partner
from .spawning import Spawning
from .starting import Child


class Processes:
    """Has a child for each attempt (`Partners`). Between `open` and `close`, some wait ready, and others are kept."""

    def __init__(
        self,
        sources: Iterable[str] = (),
        spares: int = 0,
        prepared: KeeperProcess | None = None,
        preloads: Iterable[Preload] = (),
        cgroups: Path | None = None,
    ) -> None:
        """`sources`: the modules of the `def` job types, by name or path; without any, nothing is forked.

        `spares`: how many children wait ready. `prepared`: what `fork_keeper` has returned. `preloads`: what types load
        before their processes are forked. `cgroups`: the directory of a cgroup below which each child has one.
        """
        self._spawning = Spawning(cgroups)
        self._kept = KeptPartners()
        modules = list(dict.fromkeys(sources))
        self._forking = Forking(modules, spares, prepared, preloads, self._loaded, cgroups) if modules else None
        self._when_loaded: list[Callable[[], None]] = []

    async def open(self) -> None:
        """Begin to make children ready. Raises `OSError`."""
        if self._forking is not None:
            await self._forking.open()

    async def close(self) -> None:
        """End what has been started. No attempt runs any more."""
        await self._kept.close()
        if self._forking is not None:
            await self._forking.close()

    def is_loading(self, job_type: str) -> bool:
        """Whether an attempt of this type would have to wait for what is loaded before its process is forked."""
        return self._forking is not None and self._forking.is_loading(job_type)

    def when_loaded(self, call: Callable[[], None]) -> None:
        """Have `call` called whenever attempts of a type no longer have to wait."""
        self._when_loaded.append(call)

    def _loaded(self) -> None:
        for call in self._when_loaded:
            call()

    async def start(self, source: str, job_type: str) -> Partner:
        """A child that waits for an attempt of the type called `job_type`, of the module `source`.

        Raises `LoadFailedError` and `OSError`.
        """
        return self._kept.take(job_type) or Partner(await self._start(source, job_type))

    async def part(self, partner: Partner, job_type: str, *, keep: bool) -> None:
        """The attempt has ended: the child is kept if it `stays`, and `keep` says so; otherwise it ends."""
        if not partner.stays:
            await partner.close()
        elif keep:
            self._kept.add(partner, job_type)
        else:
            self._kept.retire(partner)

    async def _start(self, source: str, job_type: str) -> Child:
        if self._forking is not None:
            try:
                return await self._forking.start(source, job_type)
            except UnfitModuleError:
                pass
        return await self._spawning.start(source, job_type)
