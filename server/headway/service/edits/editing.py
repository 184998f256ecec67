"""Editing a job: its client changes what says how it is shown, kept and queued."""

from collections.abc import Collection
from functools import partial

from ...authoring.job_types import Registry
from ...clock import utc_now
from ...domain.access import Caller
from ...domain.ids import is_job_id
from ...domain.jobs import Edit, Job, Status
from ...errors import InvalidError, JobNotFoundError, JobStateError
from ...ports.editing import Editing as Store
from ...ports.editing import WantedEdit
from ..options import MAX_METADATA, JobPatch
from .merging import merged


class Editing:
    """Applies patches to jobs."""

    def __init__(self, store: Store, registry: Registry, *, retain_s: float) -> None:
        """`retain_s`: how long jobs are kept for which neither their submission nor their type says."""
        self._store = store
        self._registry = registry
        self._retain_s = retain_s

    async def edit(self, caller: Caller, job_id: str, patch: JobPatch, tags: Collection[str] | None = None) -> Job:
        """Apply the patch; the job as it then is. One that changes nothing leaves it as it was.

        `tags`: only if the job's `edit_tag` is one of these. Raises `JobNotFoundError`, `EditedMeanwhileError`,
        `InvalidError`, and `JobStateError` for what can only be changed while a job is queued.
        """
        if not is_job_id(job_id):
            raise JobNotFoundError(job_id)
        change = partial(self._patched, patch)
        return await self._store.edit(WantedEdit(caller.sees, job_id, change, utc_now(), caller.actor, tags))

    def _patched(self, patch: JobPatch, job: Job) -> Edit:
        """What the patch makes of the job. `null` is what a submission has that says nothing."""
        before, given = job.editable, patch.model_fields_set
        after = before._replace(
            label=patch.label if "label" in given else before.label,
            priority=(patch.priority or 0) if "priority" in given else before.priority,
            run_at=(patch.run_at or job.created_at) if "run_at" in given else before.run_at,
            retain_s=self._retention(job, patch.retain_seconds) if "retain_seconds" in given else before.retain_s,
        )
        if "metadata" in given:
            target = {} if patch.metadata is None else dict(job.metadata)
            after = after._replace(metadata=tuple(merged(target, patch.metadata or {}).items()))
        if len(after.metadata) > MAX_METADATA:
            raise InvalidError([("/metadata", f"would have {len(after.metadata)} names, and may have {MAX_METADATA}")])
        if job.status is not Status.QUEUED and (after.priority, after.run_at) != (before.priority, before.run_at):
            raise JobStateError(
                f"Priority and runAt can only be changed while a job is queued; this one is {job.status}."
            )
        return after

    def _retention(self, job: Job, given_s: float | None) -> float:
        job_type = self._registry.get(job.type)
        of_type_s = None if job_type is None else job_type.retain_s
        return next(each for each in (given_s, of_type_s, self._retain_s) if each is not None)
