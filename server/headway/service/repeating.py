"""Repeating a job that failed or was cancelled: a new job with the same inputs, uploads included."""

from functools import partial

from ..clock import utc_now
from ..domain.access import Caller
from ..domain.ids import JobIds
from ..domain.jobs import NewJob, Status
from ..errors import JobStateError
from ..ports.files import Uploads
from .accepting import Accepted, Accepting, Prepared
from .admission import FREE_SPACE_MAX_AGE_S, Admission
from .idempotency import fingerprint_of
from .reading import Reading

REPEATABLE = frozenset({Status.FAILED, Status.CANCELLED})


class Repeating:
    """Makes jobs of earlier ones."""

    def __init__(
        self, admission: Admission, accepting: Accepting, reading: Reading, files: Uploads, ids: JobIds
    ) -> None:
        self._admission = admission
        self._accepting = accepting
        self._reading = reading
        self._files = files
        self._ids = ids

    async def repeat(self, caller: Caller, job_id: str, key: str | None = None) -> Accepted:
        """A new job with `retry_of` and the same owner, inputs and options.

        With an idempotency `key`, the first repetition that was asked for with it, whatever has become of the job that
        it repeats. Raises `JobNotFoundError`, `JobStateError`, and what `Submitting.submit` raises.
        """
        if key is None:
            return await self._accepting.accept(await self._prepare(caller, job_id))
        prepare = partial(self._prepare, caller, job_id)
        return await self._accepting.accept_once(caller, key, fingerprint_of({"retryOf": job_id}), prepare)

    async def _prepare(self, caller: Caller, job_id: str) -> Prepared:
        job = await self._reading.job(caller, job_id)
        if job.status not in REPEATABLE:
            raise JobStateError(f"Only a failed or cancelled job can be repeated; this one is {job.status}.")
        job_type = self._admission.job_type(job.type)
        self._admission.check_space(0, FREE_SPACE_MAX_AGE_S)
        documents = await self._reading.documents(job)
        new = NewJob.repeating(job, *self._ids.new(utc_now()), documents.input_json, caller.key_id, caller.actor)
        return Prepared(
            new, job_type.max_queued, partial(self._files.link_inputs, job, new.id) if job.uploads else None
        )
