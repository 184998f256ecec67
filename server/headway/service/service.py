"""All use cases of one server, put together."""

from dataclasses import dataclass
from typing import Self

from ..authoring.job_types import Registry
from ..domain.addresses import AllowList
from ..domain.ids import JobIds
from ..loops import Loops
from ..ports.backend import Backend
from ..ports.files import FileStore
from .accepting import Accepting
from .admission import Admission
from .cancelling import Cancelling
from .deliveries import Deliveries
from .readiness import Readiness
from .reading import Reading
from .repeating import Repeating
from .resources import Resources
from .results import Results
from .submitting import Submitting
from .waiting import Waiting


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The numbers that use cases keep to."""

    retain_s: float
    min_free_bytes: int
    max_waits: int
    max_waits_per_client: int
    max_waits_per_owner: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The use cases, for whichever way a request comes in."""

    admission: Admission
    submitting: Submitting
    repeating: Repeating
    reading: Reading
    waiting: Waiting
    cancelling: Cancelling
    results: Results
    resources: dict[str, Resources]
    """By job type: of those whose authors say what their resources are."""
    deliveries: Deliveries
    readiness: Readiness

    @classmethod
    def over(
        cls,
        backend: Backend,
        files: FileStore,
        registry: Registry,
        ids: JobIds,
        *,
        limits: Limits,
        allowed: AllowList,
        loops: Loops,
    ) -> Self:
        """The use cases over one record. `ids` makes the ids of all jobs.

        `allowed`: otherwise forbidden addresses that webhooks may go to.
        """
        store = backend.store
        reading = Reading(store)
        admission = Admission(store, files, registry, min_free_bytes=limits.min_free_bytes)
        accepting = Accepting(store, files, reading)
        return cls(
            admission=admission,
            submitting=Submitting(admission, accepting, files, ids, allowed=allowed, retain_s=limits.retain_s),
            repeating=Repeating(admission, accepting, reading, files, ids),
            reading=reading,
            waiting=Waiting(
                store,
                backend.hub,
                most=limits.max_waits,
                most_per_client=limits.max_waits_per_client,
                most_per_owner=limits.max_waits_per_owner,
            ),
            cancelling=Cancelling(store, reading, files),
            results=Results(store, reading, files),
            resources={
                job_type.name: Resources(job_type.resource.readers, files.type_data(job_type.name))
                for job_type in registry
                if job_type.resource is not None and job_type.resource.readers is not None
            },
            deliveries=Deliveries(backend.outbox, reading),
            readiness=Readiness(store, loops),
        )
