"""What a main program does before it imports the rest of the server: it loads the job types and forks their keeper.

Job processes have in memory what their keeper has, and each page of it that they touch is copied. So it is forked while
that is little: aiohttp, SQLite and what is around them come later.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from ..authoring.job_types import ChangingRegistry, Registry
from ..authoring.loading import JobTypeSource, load_job_types
from ..operating.process_limits import fit_open_files
from ..running.processes.forked.keeping import KeeperProcess, fork_keeper
from ..settings import Settings
from .bundled import SAMPLES


@dataclass(frozen=True, slots=True)
class Prepared:
    """What `prepare` has made for a server."""

    settings: Settings
    registry: Registry
    keeper: KeeperProcess | None


def prepare(settings: Settings, *, changing: bool = False) -> Prepared:
    """Load the job types, and fork the keeper. For a process without threads and event loop. Raises `SetupError`.

    `changing`: whether the types can be exchanged while the server runs.
    """
    settings = fit_open_files(settings)
    registry = registry_of(settings)
    if changing:
        registry = ChangingRegistry(registry)
    return Prepared(settings, registry, forked_keeper(settings, registry))


def registry_of(settings: Settings, sources: Iterable[JobTypeSource] | None = None) -> Registry:
    """The job types to serve, with the samples only where none are named or they are asked for. Raises `SetupError`."""
    own = list(settings.jobs if sources is None else sources)
    with_samples = not own and sources is None if settings.samples is None else settings.samples
    return load_job_types(own, SAMPLES if with_samples else ())


def forked_keeper(settings: Settings, registry: Registry) -> KeeperProcess | None:
    """The keeper, if job processes are to be forked and there are any. `None` also if this process cannot be forked."""
    if settings.process_start == "fork" and not all(job_type.is_async for job_type in registry):
        return fork_keeper()
    return None
