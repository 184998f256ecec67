"""All use cases of one server, put together."""

from dataclasses import dataclass
from typing import Self

from ..authoring.job_types import Registry
from ..domain.addresses import AllowList
from ..domain.ids import JobIds
from ..loops import Loops
from ..ports.backend import Backend
from ..ports.files import FileStore
from ..ports.webhooks import Prober
from ..ports.work import Workplace
from .accepting import Accepting
from .admission import Admission
from .cancelling import Cancelling
from .deliveries import Deliveries
from .edits.editing import Editing
from .many.acting import Acting
from .many.batching import Batching
from .many.running_actions import RunningActions
from .readiness import Readiness
from .reading import Reading
from .repeating import Repeating
from .resources import Resources
from .results import Results
from .submitting import Submitting
from .uploads.resumable import ResumableUploads
from .waiting import Waiting
from .work.working import Working


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The numbers that use cases keep to, and where webhooks may go."""

    retain_s: float
    min_free_bytes: int
    max_waits: int
    max_waits_per_client: int
    max_waits_per_owner: int
    max_input_bytes: int
    allowed: AllowList
    """Otherwise forbidden addresses that webhooks may go to."""
    max_upload_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The use cases, for whichever way a request comes in."""

    admission: Admission
    submitting: Submitting
    uploads: ResumableUploads
    batching: Batching
    repeating: Repeating
    editing: Editing
    reading: Reading
    waiting: Waiting
    cancelling: Cancelling
    acting: Acting
    running_actions: RunningActions
    results: Results
    resources: dict[str, Resources]
    """By job type: of those whose authors say what their resources are."""
    deliveries: Deliveries
    working: Working
    readiness: Readiness

    @classmethod
    def over(
        cls,
        backend: Backend,
        files: FileStore,
        registry: Registry,
        ids: JobIds,
        prober: Prober,
        workplace: Workplace,
        *,
        limits: Limits,
        loops: Loops,
    ) -> Self:
        """The use cases over one record. `ids` makes the ids of all jobs, `prober` tries webhooks out, and workers find
        jobs in the `workplace`. `uploads` is opened before jobs can run.
        """
        store = backend.store
        reading = Reading(store)
        uploads = ResumableUploads(store, files.uploads, backend.audit, ids, max_bytes=limits.max_upload_bytes)
        admission = Admission(store, files, registry, min_free_bytes=limits.min_free_bytes)
        accepting = Accepting(store, files, reading)
        submitting = Submitting(
            admission, accepting, files, ids, uploads, allowed=limits.allowed, retain_s=limits.retain_s
        )
        waiting = Waiting(
            store,
            backend.hub,
            most=limits.max_waits,
            most_per_client=limits.max_waits_per_client,
            most_per_owner=limits.max_waits_per_owner,
        )
        cancelling = Cancelling(store, reading, files)
        repeating = Repeating(admission, accepting, reading, files, ids, max_input_bytes=limits.max_input_bytes)
        return cls(
            admission=admission,
            submitting=submitting,
            uploads=uploads,
            batching=Batching(submitting, store),
            repeating=repeating,
            editing=Editing(store, registry, retain_s=limits.retain_s),
            reading=reading,
            waiting=waiting,
            cancelling=cancelling,
            acting=Acting(backend.actions, admission, reading, ids, retain_s=limits.retain_s),
            running_actions=RunningActions(backend.actions, backend.keys, reading, cancelling, repeating, accepting),
            results=Results(store, reading, files),
            resources=_resources(registry, files),
            deliveries=Deliveries(backend.outbox, reading, prober, limits.allowed),
            working=Working(workplace, registry, admission, waiting, files),
            readiness=Readiness(store, loops),
        )


def _resources(registry: Registry, files: FileStore) -> dict[str, Resources]:
    found: dict[str, Resources] = {}

    def find() -> None:
        found.clear()
        for job_type in registry:
            if job_type.resource is not None and job_type.resource.readers is not None:
                found[job_type.name] = Resources(job_type.resource.readers, files.type_data(job_type.name))

    find()
    registry.when_changed(find)
    return found
