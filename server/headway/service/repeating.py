"""Repeating a job that failed or was cancelled: a new job with the same inputs, uploads included."""

from functools import partial

from ..clock import utc_now
from ..domain.access import Caller
from ..domain.ids import JobIds
from ..domain.jobs import Job, NewJob, Status
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

        async def prepare() -> Prepared:
            return await self._prepare(caller, job_id)

        if key is None:
            return await self._accepting.accept(prepare)
        return await self._accepting.accept_once(caller, key, fingerprint_of({"retryOf": job_id}), prepare)

    async def _prepare(self, caller: Caller, job_id: str) -> Prepared:
        job = await self._reading.job(caller, job_id)
        if job.status not in REPEATABLE:
            raise JobStateError(f"Only a failed or cancelled job can be repeated; this one is {job.status}.")
        job_type = self._admission.job_type(job.type)
        self._admission.check_space(0, FREE_SPACE_MAX_AGE_S)
        documents = await self._reading.documents(job)
        new = self._new_job(job, documents.input_json)
        return Prepared(
            new, job_type.max_queued, partial(self._files.link_inputs, job, new.id) if job.uploads else None
        )

    def _new_job(self, job: Job, input_json: str) -> NewJob:
        job_id, created_at = self._ids.new(utc_now())
        return NewJob(
            id=job_id,
            owner=job.owner,
            type=job.type,
            input_json=input_json,
            created_at=created_at,
            run_at=created_at,
            retain_s=job.retain_s,
            label=job.label,
            priority=job.priority,
            max_attempts=job.max_attempts,
            timeout_s=job.timeout_s,
            uploads=job.uploads,
            retry_of=job.id,
            webhook=job.webhook,
        )
