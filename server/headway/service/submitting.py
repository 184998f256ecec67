"""Submitting a job: check what was asked for, then record it."""

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
from ..domain.jobs import NewJob
from ..domain.urls import check_url
from ..errors import InvalidError, UrlRefusedError
from ..ports.files import Uploads
from ..validation import invalid
from .accepting import Accepted, Accepting, Prepared
from .admission import FREE_SPACE_MAX_AGE_S, Admission
from .submission import Submission


class Submitting:
    """Makes jobs of submissions."""

    def __init__(
        self,
        admission: Admission,
        accepting: Accepting,
        files: Uploads,
        ids: JobIds,
        *,
        allowed: AllowList,
        retain_s: float,
    ) -> None:
        """`retain_s`: for types and submissions that do not say. `allowed`: addresses that webhooks may go to."""
        self._admission = admission
        self._accepting = accepting
        self._files = files
        self._ids = ids
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
            return await self._accepting.accept(self._prepare(caller, submission))

        async def prepare() -> Prepared:
            return self._prepare(caller, submission)

        return await self._accepting.accept_once(caller, key, submission.fingerprint(), prepare, first)

    async def first_with(self, caller: Caller, key: str) -> FirstSubmission | None:
        """What the caller has submitted with this key before: then new files are only compared, not kept."""
        return await self._accepting.first_with(caller, key)

    def new_incoming(self) -> Path:
        """A new directory for uploads; the caller removes what is left of it. Blocks. Raises `OSError`."""
        return self._files.new_incoming()

    def _prepare(self, caller: Caller, submission: Submission) -> Prepared:
        job_type = self._admission.job_type(submission.type)
        self._admission.check_space(0, FREE_SPACE_MAX_AGE_S)
        input_json = to_json(submission.fields)
        _check_files(job_type, submission)
        _check_input(job_type, input_json, submission)
        new = self._new_job(caller, job_type, input_json, submission)
        if submission.incoming is None or not submission.uploads:
            return Prepared(new, job_type.max_queued, None)
        place_files = partial(self._files.accept_incoming, submission.incoming, new.id)
        return Prepared(new, job_type.max_queued, place_files, submission.held)

    def _new_job(self, caller: Caller, job_type: JobType, input_json: bytes, submission: Submission) -> NewJob:
        options = submission.options
        webhook = self._webhook(job_type, submission)
        job_id, created_at = self._ids.new(utc_now())
        retain_s = job_type.retain_s if options.retain_seconds is None else options.retain_seconds
        return NewJob(
            id=job_id,
            owner=caller.owner,
            type=job_type.name,
            input_json=input_json.decode(),
            created_at=created_at,
            run_at=created_at if options.run_at is None else options.run_at,
            retain_s=self._retain_s if retain_s is None else retain_s,
            label=options.label,
            priority=options.priority,
            max_attempts=job_type.max_attempts,
            timeout_s=options.timeout_seconds or job_type.timeout_s,
            uploads=tuple(submission.uploads.values()),
            webhook=webhook,
            key_id=caller.key_id,
            by=caller.actor,
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


def _check_files(job_type: JobType, submission: Submission) -> None:
    """Raises `InvalidError` for a file that was sent as a value, and for one that the type does not take."""
    if not job_type.uploads and not submission.uploads:
        return
    for name in job_type.uploads.keys() & submission.fields.keys():
        raise InvalidError([(f"{submission.pointer}/{name}", "must be a file part")], "Send the file as its own part.")
    for name in submission.uploads.keys() - job_type.uploads.keys():
        raise InvalidError([(f"/{name}", "is not a file field")], "The job type does not take this file.")


def _check_input(job_type: JobType, input_json: bytes, submission: Submission) -> None:
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
