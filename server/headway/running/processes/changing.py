"""Processes of job types that change while the server runs: each runs the code that was served when it started."""

import asyncio
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from .forked.forking import Forking
from .forked.keeping import KeeperProcess
from .forked.preloading import Preload
from .partner import Partner
from .processes import Processes
from .starting import Child


class ChangingProcesses(Processes):
    """Begins to fork from other processes when the code has changed. The former end with their last child."""

    def __init__(
        self,
        sources: Iterable[str] = (),
        spares: int = 0,
        prepared: KeeperProcess | None = None,
        preloads: Iterable[Preload] = (),
        cgroups: Path | None = None,
    ) -> None:
        """As for `Processes`."""
        super().__init__(sources, spares, prepared, preloads, cgroups)
        self._cgroups = cgroups
        self._former: set[Forking] = set()
        """Those that attempts still depend on."""
        self._children: dict[Forking, int] = {}
        self._with_current_code: set[Child] = set()
        self._closing: set[asyncio.Task[None]] = set()

    async def load(self, sources: Iterable[str], spares: int, preloads: Iterable[Preload]) -> Forking | None:
        """Have a new interpreter load these modules as their files are now; `None` if there are none.

        The caller gives it to `exchange` or closes it. Raises `OSError`.
        """
        modules = list(dict.fromkeys(sources))
        if not modules:
            return None
        forking = Forking(modules, spares, None, preloads, self._loaded, self._cgroups)
        await forking.open()
        return forking

    def exchange(self, forking: Forking | None) -> None:
        """Fork from this one from now on. What waits with the former code ends; attempts go on to their end."""
        former, self._forking = self._forking, forking
        self._with_current_code.clear()
        self._kept.retire_all()
        if former is not None:
            self._former.add(former)
            self._close_if_unused(former)
        self._loaded()

    async def close(self) -> None:
        await self._kept.close()
        former, self._former = self._former, set()
        await asyncio.gather(*(forking.close() for forking in former))
        if self._closing:
            await asyncio.wait(self._closing)
        await super().close()

    async def part(self, partner: Partner, job_type: str, *, keep: bool) -> None:
        await super().part(partner, job_type, keep=keep and partner.child in self._with_current_code)

    async def _start(self, source: str, job_type: str) -> Child:
        forking = self._forking
        self._uses(forking, 1)
        try:
            child = await super()._start(source, job_type)
        except BaseException:
            self._uses(forking, -1)
            raise
        if forking is self._forking:
            self._with_current_code.add(child)
        child.exiting.add_done_callback(partial(self._ended, forking, child))
        return child

    def _ended(self, forking: Forking | None, child: Child, _exiting: object) -> None:
        self._with_current_code.discard(child)
        self._uses(forking, -1)

    def _uses(self, forking: Forking | None, more: int) -> None:
        """Count the children that were forked from it, or are about to be."""
        if forking is not None:
            self._children[forking] = self._children.get(forking, 0) + more
            if forking in self._former:
                self._close_if_unused(forking)

    def _close_if_unused(self, forking: Forking) -> None:
        if not self._children.get(forking):
            self._former.discard(forking)
            self._children.pop(forking, None)
            closing = asyncio.create_task(forking.close(), name="former-forking")
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
