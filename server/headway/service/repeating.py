"""Repeating a job that has ended: a new job with the same inputs, uploads included."""

from functools import partial
from typing import Any

from pydantic_core import from_json, to_json

from ..authoring.job_types import JobType
from ..clock import utc_now
from ..domain.access import Caller
from ..domain.ids import JobIds
from ..domain.jobs import NewJob
from ..errors import InvalidError, JobStateError
from ..ports.actions import ACTION_TYPE
from ..ports.files import Uploads
from .accepting import Accepted, Accepting, Prepared
from .admission import FREE_SPACE_MAX_AGE_S, Admission
from .edits.merging import merged
from .idempotency import fingerprint_in_pieces
from .options import UNCHANGED, RetryChanges
from .reading import Reading
from .submission import Submission
from .submitting import check_files, check_input, check_number


class Repeating:
    """Makes jobs of earlier ones."""

    def __init__(
        self,
        admission: Admission,
        accepting: Accepting,
        reading: Reading,
        files: Uploads,
        ids: JobIds,
        *,
        max_input_bytes: int,
    ) -> None:
        """`max_input_bytes`: of an input that was changed."""
        self._admission = admission
        self._accepting = accepting
        self._reading = reading
        self._files = files
        self._ids = ids
        self._max_input_bytes = max_input_bytes

    async def repeat(
        self, caller: Caller, job_id: str, key: str | None = None, changes: RetryChanges = UNCHANGED
    ) -> Accepted:
        """A new job with `retry_of` and the same owner, inputs and options, apart from the `changes`.

        With an idempotency `key`, the first repetition that was asked for with it, whatever has become of the job that
        it repeats. Raises `JobNotFoundError`, `JobStateError`, and what `Submitting.submit` raises.
        """
        if key is None:
            return await self._accepting.accept(await self.prepare(caller, job_id, changes))
        changed = changes.model_dump(mode="json", by_alias=True, exclude_unset=True)
        fingerprint = await fingerprint_in_pieces({"retryOf": job_id} | ({"changes": changed} if changed else {}))
        prepare = partial(self.prepare, caller, job_id, changes)
        return await self._accepting.accept_once(caller, key, fingerprint, prepare)

    async def prepare(self, caller: Caller, job_id: str, changes: RetryChanges = UNCHANGED) -> Prepared:
        """A repetition that is ready to be accepted. Raises like `repeat`, a full queue or quota aside."""
        job = await self._reading.job(caller, job_id)
        if job.type == ACTION_TYPE:
            raise JobStateError("An action cannot be repeated: send it again.")
        if not job.terminal:
            raise JobStateError(f"Only a job that has ended can be repeated; this one is {job.status}.")
        job_type = self._admission.job_type(job.type)
        self._admission.check_space(0, FREE_SPACE_MAX_AGE_S)
        documents = await self._reading.documents(job, with_result=False)
        new = NewJob.repeating(job, *self._ids.new(utc_now()), documents.input_json, caller.key_id, caller.actor)
        new = _changed(new, job_type, changes, self._max_input_bytes)
        return Prepared(
            new, job_type.max_queued, partial(self._files.link_inputs, job, new.id) if job.uploads else None
        )


def _changed(new: NewJob, job_type: JobType, changes: RetryChanges, max_input_bytes: int) -> NewJob:
    """The job with these changes. Raises `InvalidError` if its type does not take the input any longer."""
    given = changes.model_fields_set
    changed: dict[str, Any] = {name: getattr(changes, name) for name in ("label", "priority") if name in given}
    if changes.run_at is not None:
        changed["run_at"] = changes.run_at
    if "input" in given:
        uploads = {upload.field: upload for upload in new.uploads}
        submission = Submission(
            job_type.name, merged(from_json(new.input_json), changes.input), uploads=uploads, pointer="/input"
        )
        check_number(job_type, submission)
        check_files(job_type, submission)
        input_json = to_json(submission.fields)
        if len(input_json) > max_input_bytes:  # a patch can add as much each time
            raise InvalidError([("/input", f"is larger than {max_input_bytes:,} bytes with these changes")])
        check_input(job_type, input_json, submission)
        changed["input_json"] = input_json.decode()
    return new._replace(**changed)
