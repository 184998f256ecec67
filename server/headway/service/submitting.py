"""Submitting a job: check what was asked for, then record it."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import to_json

from ..authoring.job_types import JobType
from ..authoring.uploads import Upload
from ..clock import utc_now
from ..domain.access import Caller
from ..domain.addresses import AllowList
from ..domain.deliveries import DEFAULT_EVENTS, Webhook, WebhookEvent
from ..domain.idempotency import FirstSubmission
from ..domain.ids import JobIds
from ..domain.jobs import NewJob, UploadedFile
from ..domain.urls import check_url
from ..errors import InvalidError, UrlRefusedError
from ..ports.files import Uploads
from ..validation import MAX_LISTED, invalid, too_many
from .accepting import Accepted, Accepting, Prepared
from .admission import FREE_SPACE_MAX_AGE_S, Admission
from .submission import Submission
from .uploads.naming import named_uploads
from .uploads.resumable import ResumableUploads


class Submitting:
    """Makes jobs of submissions."""

    def __init__(
        self,
        admission: Admission,
        accepting: Accepting,
        files: Uploads,
        ids: JobIds,
        uploads: ResumableUploads,
        *,
        allowed: AllowList,
        retain_s: float,
    ) -> None:
        """`retain_s`: for types and submissions that do not say. `allowed`: addresses that webhooks may go to."""
        self._admission = admission
        self._accepting = accepting
        self._files = files
        self._ids = ids
        self._uploads = uploads
        self._allowed = allowed
        self._retain_s = retain_s

    async def submit(
        self, caller: Caller, submission: Submission, key: str | None = None, first: FirstSubmission | None = None
    ) -> Accepted:
        """Accept a job: durable on return. With an idempotency `key`, the first job that was submitted with it.

        `first`: what `first_with` returned before the submission was read.

        Raises `InvalidError`, what `Admission.check` raises, `StoreUnavailableError`, and with a key `KeyReusedError`
        and `JobGoneError`.
        """
        if key is None:
            return await self._accepting.accept(await self._prepare_with_uploads(caller, submission))
        prepare = partial(self._prepare_with_uploads, caller, submission)
        return await self._accepting.accept_once(caller, key, await submission.fingerprint(), prepare, first)

    async def first_with(self, caller: Caller, key: str) -> FirstSubmission | None:
        """What the caller has submitted with this key before: then new files are only compared, not kept."""
        return await self._accepting.first_with(caller, key)

    def new_incoming(self) -> Path:
        """A new directory for uploads; the caller removes what is left of it. Blocks. Raises `OSError`."""
        return self._files.new_incoming()

    def open_type(self, name: str) -> JobType:
        """The job type, if the server takes jobs of it now. Raises what `Admission.check` does, a full queue aside."""
        job_type = self._admission.job_type(name)
        self._admission.check_space(0, FREE_SPACE_MAX_AGE_S)
        return job_type

    def prepare(self, caller: Caller, job_type: JobType, submission: Submission) -> Prepared:
        """Check a submission of an open type. Raises `InvalidError`."""
        check_number(job_type, submission)
        input_json = to_json(submission.fields)
        check_files(job_type, submission)
        check_input(job_type, input_json, submission)
        new = self._new_job(caller, job_type, input_json, submission)
        if submission.incoming is None or not submission.uploads:
            return Prepared(new, job_type.max_queued, None)
        place_files = partial(self._files.accept_incoming, submission.incoming, new.id)
        return Prepared(new, job_type.max_queued, place_files, submission.held)

    async def _prepare_with_uploads(self, caller: Caller, submission: Submission) -> Prepared:
        """Check a submission, and take the resumable uploads that it names."""
        job_type = self.open_type(submission.type)
        if job_type.uploads and (named := named_uploads(job_type, submission.fields)):
            return await self._taking(caller, job_type, submission, named)
        return self.prepare(caller, job_type, submission)

    async def _taking(
        self, caller: Caller, job_type: JobType, submission: Submission, named: Mapping[str, str]
    ) -> Prepared:
        """Check a submission that names uploads, which are its own until it is accepted or refused."""
        taken = await self._uploads.take(caller, named, submission.pointer)
        try:
            files = taken.files
            _check_files_together(submission, files, self._uploads.max_bytes)
            fields = {name: value for name, value in submission.fields.items() if name not in named}
            whole = submission._replace(fields=fields, uploads={**submission.uploads, **files})
            prepared = self.prepare(caller, job_type, whole)
        except BaseException:
            taken.give_back()
            raise
        place_files = partial(taken.place, self._files, submission.incoming, prepared.new.id)
        return prepared._replace(place_files=place_files, held=submission.held, taken=taken)

    def _new_job(self, caller: Caller, job_type: JobType, input_json: bytes, submission: Submission) -> NewJob:
        options = submission.options
        webhook = self._webhook(job_type, submission)
        job_id, created_at = self._ids.new_at_ms(utc_now.ms())
        retain_s = job_type.retain_s if options.retain_seconds is None else options.retain_seconds
        return NewJob(  # by position, in half the time that naming each field takes
            job_id,
            caller.owner,
            job_type.name,
            input_json.decode(),
            created_at,
            created_at if options.run_at is None else options.run_at,
            self._retain_s if retain_s is None else retain_s,
            options.label,
            options.priority,
            job_type.max_attempts,
            options.timeout_seconds or job_type.timeout_s,
            tuple(submission.uploads.values()) if submission.uploads else (),
            None,
            webhook,
            caller.key_id,
            tuple(options.metadata.items()) if options.metadata else (),
            caller.actor,
        )

    def _webhook(self, job_type: JobType, submission: Submission) -> Webhook | None:
        """Where the job's events go, and which of them. Raises `InvalidError` for a URL that nothing is sent to."""
        options = submission.options
        url = job_type.webhook_url if options.webhook_url is None else options.webhook_url
        if url is None:
            if options.webhook_events:
                raise InvalidError([("/webhookEvents", "needs webhookUrl: this job type has no default")])
            return None
        try:
            checked = check_url(url, self._allowed)
        except UrlRefusedError as error:
            raise InvalidError([("/webhookUrl", str(error))]) from None
        return Webhook(checked, frozenset(map(WebhookEvent, options.webhook_events)) or DEFAULT_EVENTS)


def check_number(job_type: JobType, submission: Submission) -> None:
    """Raises `InvalidError` for so many unknown fields that listing them is out of the question.

    pydantic would make an error for each: those of a megabyte stop the event loop for a twentieth of a second.
    """
    if len(submission.fields) <= MAX_LISTED:
        return
    described = job_type.input_object
    unknown = len(submission.fields.keys() - described.get("properties", {}).keys())
    if described.get("additionalProperties") is False and unknown > MAX_LISTED:
        raise too_many(unknown, "unknown fields", submission.pointer)


def check_files(job_type: JobType, submission: Submission) -> None:
    """Raises `InvalidError` for a file that was sent as a value, and for one that the type does not take."""
    if not job_type.uploads and not submission.uploads:
        return
    for name in job_type.uploads.keys() & submission.fields.keys():
        detail = "Send the file as a part of a form, or name a resumable upload where one job is submitted."
        raise InvalidError([(f"{submission.pointer}/{name}", "must be a file part, or name an upload")], detail)
    for name in submission.uploads.keys() - job_type.uploads.keys():
        raise InvalidError([(f"/{name}", "is not a file field")], "The job type does not take this file.")


def _check_files_together(submission: Submission, named: Mapping[str, UploadedFile], max_bytes: int) -> None:
    """Raises `InvalidError` for a field with two files, and if all files together are too large."""
    for name in submission.uploads.keys() & named.keys():
        raise InvalidError([(f"{submission.pointer}/{name}", "is given as a file part too")])
    size_bytes = sum(file.size_bytes for file in (*submission.uploads.values(), *named.values()))
    if size_bytes > max_bytes:
        detail = f"is too large: a job's files have at most {max_bytes:,} bytes in all"
        raise InvalidError([(f"{submission.pointer}/{name}", detail) for name in named])


def check_input(job_type: JobType, input_json: bytes, submission: Submission) -> None:
    """Raises `InvalidError` with a pointer for each error."""
    # Where the file is, only the running job knows; its presence is what is validated here.
    uploads: dict[str, Any] = {
        name: Upload(Path(), file.filename, file.content_type, file.size_bytes)
        for name, file in submission.uploads.items()
    }
    try:
        job_type.parse_input(input_json, uploads)
    except ValidationError as error:
        raise invalid(error, submission.pointer) from None
