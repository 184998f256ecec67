"""Reloading: the files are watched, loaded beside what is served, and served once everything is found to be right.

In this process, since a data directory has one owner: a second server could only begin when the last job of the first
has ended.

The exchange is one step of the event loop. Jobs that run go on with the code that they began with. What a handler
imports only while it runs, it imports from the modules that are served then.
"""

import asyncio
import logging
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import structlog
from watchfiles import awatch

from ...authoring.job_types import ChangingRegistry, LoadFailure, Registry
from ...authoring.reloading import Generation
from ...errors import HeadwayError
from ...running.processes.changing import ChangingProcesses
from ...running.processes.forked.forking import Forking
from ...settings import Settings
from ...tracebacks import Folded, Frame, describe, folded, formatted, place, raised_at
from ..preparing import registry_of
from ..rooms import forked, servable
from .fingerprints import fingerprint
from .preparing import Authored

LOOK_EVERY_MS = 2_000
"""Changes on some mounted file systems are not reported."""
QUIET_MS = 50
GROUPED_WITHIN_MS = 800
"""Changes are taken together until there is none for the first time, but at most within the second."""
FORK_WITHIN_S = 60.0
"""How long the processes that are forked from may take to load what was loaded here before they are waited for."""

log = structlog.get_logger(__name__)


class _Loaded(NamedTuple):
    registry: Registry
    generation: Generation


class _BrokenError(Exception):
    """The files cannot be loaded as they are."""

    def __init__(self, failure: LoadFailure, cause: BaseException | None, files: set[Path]) -> None:
        super().__init__(failure.reason)
        self.failure = failure
        self.cause = cause
        self.files = files


class Reloader:
    """Serves the author's files as they are. One for the server."""

    def __init__(
        self, settings: Settings, authored: Authored, registry: ChangingRegistry, processes: ChangingProcesses
    ) -> None:
        self._settings = settings
        self._modules = authored.modules
        self._files = authored.files
        self._registry = registry
        self._processes = processes
        self._fingerprints = _fingerprints(registry, self._modules.generation())
        self._stopping = asyncio.Event()
        logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it logs how many changes there were

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    def stop(self) -> None:
        """Watch no more."""
        self._stopping.set()

    async def watch(self) -> None:
        """Reload when files change, until other directories are to be watched."""
        directories = self._files.directories()
        changes = awatch(
            *directories,
            watch_filter=None,
            debounce=GROUPED_WITHIN_MS,
            step=QUIET_MS,
            stop_event=self._stopping,
            rust_timeout=LOOK_EVERY_MS,
            yield_on_timeout=True,
            recursive=False,
        )
        async for _ in changes:
            while not self.stopping and (changed := self._files.changed()):
                await self._reload(changed)
            if self._files.directories() != directories:
                return

    async def _reload(self, changed: set[Path]) -> None:
        contents = self._files.contents()
        try:
            loaded = await asyncio.to_thread(self._load)
        except _BrokenError as error:
            self._files.were_broken(contents, error.files)
            self._registry.fail(error.failure)
            exc_info = {} if error.cause is None else {"exc_info": error.cause}
            log.error("not reloaded, the earlier code goes on", reason=error.failure.reason, **exc_info)  # noqa: TRY400
            return
        forking = await self._forked_from(loaded.registry)
        if not self._files.are_still(contents, loaded.generation.files):  # then children would run other code
            if forking is not None:
                await forking.close()
            return
        self._exchange(loaded, forking)
        self._files.were_loaded(contents, loaded.generation.files)
        self._report(changed)

    def _load(self) -> _Loaded:
        """In a thread, since importing may take long. Raises `_BrokenError`."""
        before = self._modules.generation()
        self._modules.put_away()
        try:
            registry = servable(self._settings, registry_of(self._settings))
            return _Loaded(registry, self._modules.generation())
        except Exception as error:
            cause = error.__cause__ if isinstance(error, HeadwayError) else error
            reason = str(error) if isinstance(error, HeadwayError) else describe(error)
            failure = LoadFailure(reason, "" if cause is None else _without_framework(formatted(cause)))
            raise _BrokenError(failure, cause, self._tried(cause)) from error
        finally:
            self._modules.bring_back(before)

    def _tried(self, cause: BaseException | None) -> set[Path]:
        found = None if cause is None else raised_at(cause)
        return self._modules.generation().files | (set() if found is None else {Path(found[0])})

    async def _forked_from(self, registry: Registry) -> Forking | None:
        """What the children of `def` handlers are to be forked from, when it is ready."""
        sources, preloads, spares = forked(self._settings, registry)
        forking = await self._processes.load(sources, spares, preloads)
        if forking is not None:
            try:
                with suppress(TimeoutError):
                    async with asyncio.timeout(FORK_WITHIN_S):
                        await forking.loaded()
            except BaseException:
                await forking.close()
                raise
        return forking

    def _exchange(self, loaded: _Loaded, forking: Forking | None) -> None:
        """From one turn of the event loop to the next everybody has the new types, and nobody the old ones."""
        self._modules.bring_back(loaded.generation)
        self._processes.exchange(forking)
        self._registry.change(loaded.registry)

    def _report(self, changed: Iterable[Path]) -> None:
        before, self._fingerprints = self._fingerprints, _fingerprints(self._registry, self._modules.generation())
        now = self._fingerprints
        types = {
            "changed": [name for name in now if name in before and now[name] != before[name]],
            "added": [name for name in now if name not in before],
            "removed": [name for name in before if name not in now],
        }
        named = {word: ", ".join(names) for word, names in types.items() if names}
        log.info("reloaded", files=", ".join(sorted(place(str(file), None) for file in changed)), **named)


def _without_framework(traceback: str) -> str:
    """A traceback whose frames of the framework are folded."""
    lines: list[str] = []
    for part in folded(traceback):
        match part:
            case Frame():
                inside = f", in {part.function}" if part.function else ""
                lines += [f"{part.margin}  File {place(part.filename, part.line)}{inside}", *part.below]
            case Folded():
                lines.append(f"{part.margin}  {part.text}")
            case _:
                lines.append(part)
    return "\n".join(lines)


def _fingerprints(registry: Registry, generation: Generation) -> dict[str, object]:
    return dict(_each_fingerprint(registry, generation))


def _each_fingerprint(registry: Registry, generation: Generation) -> Iterator[tuple[str, object]]:
    for job_type in registry:
        try:
            yield job_type.name, fingerprint(job_type, generation.modules.keys())
        except Exception:  # noqa: BLE001 - of an author's object that cannot be read: the type counts as changed
            yield job_type.name, object()
