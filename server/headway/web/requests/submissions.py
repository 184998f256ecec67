"""`POST /jobs` and `POST /jobs/{type}`: check, store the uploads, insert. Files before rows."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from aiohttp import web
from pydantic import ValidationError
from pydantic_core import to_json

from ...authoring.job_types import JobType
from ...authoring.uploads import INPUT_PART, Upload
from ...clock import utc_now
from ...domain.deliveries import DEFAULT_EVENTS, Webhook, WebhookEvent
from ...domain.idempotency import FirstSubmission, IdempotencyKey
from ...domain.jobs import Job, NewJob
from ...domain.urls import check_url
from ...errors import UrlRefusedError
from ..identity.gate import caller
from ..keys import ALLOWED, FILES, IDS, REGISTRY, SETTINGS, STATE, STORE
from ..problems import Problem
from .bodies import json_body, media_type
from .disk_space import refuse_when_disk_is_full
from .idempotency import fingerprint_of, first_job, first_with, given_key, key_for
from .multipart import Body, read_multipart, storing
from .options import Envelope, SubmitOptions, separated
from .query import NoQuery, invalid, query, validate

EVENTS_PART = "webhookEvents"


class Submitted(NamedTuple):
    """The job that a submission led to; `replayed`: an earlier one, with the same idempotency key, had made it."""

    job: Job
    replayed: bool = False


class _Asked(NamedTuple):
    """What a submission asks for. `prefix` is where the input stands in the pointers of errors."""

    type: str
    fields: dict[str, Any]
    options: SubmitOptions
    body: Body
    incoming: Path | None
    prefix: str

    def fingerprint(self) -> str:
        """The request as idempotency keys mean it: the files count by their sums, not by their names."""
        options = self.options.model_dump(mode="json", include=set(SubmitOptions.model_fields), exclude_defaults=True)
        return fingerprint_of({"type": self.type, "input": self.fields, "options": options, "files": self.body.sums})


async def submit_typed(request: web.Request, name: str) -> Submitted:
    """A job of the type `name`: the body is the input, the options are query parameters."""
    if (key := given_key(request)) is not None:
        return await _submit_once(request, key, name)
    job_type = find_type(request, name)
    options = query(request, SubmitOptions)
    _refuse_when_full(request, job_type)
    if not _is_form(request):
        asked = _asked_json(name, options, Body(await json_body(request)))
        return Submitted(await _insert(request, job_type, asked))
    async with _received_form(request, "") as (body, incoming):
        return Submitted(await _insert(request, job_type, _typed_form(name, options, body, incoming)))


async def submit_envelope(request: web.Request) -> Submitted:
    """Type, input and options stand in the body; in a multipart body each in a part of its own."""
    if (key := given_key(request)) is not None:
        return await _submit_once(request, key, None)
    query(request, NoQuery)
    refuse_when_disk_is_full(request)
    if not _is_form(request):
        asked = _enveloped(Body(await json_body(request)), None, strict=None)
        return Submitted(await _insert(request, find_type(request, asked.type), asked))
    async with _received_form(request, "/input") as (body, incoming):
        asked = _enveloped(body, incoming, strict=False)
        return Submitted(await _insert(request, find_type(request, asked.type), asked))


async def _submit_once(request: web.Request, key: str, name: str | None) -> Submitted:
    """With an idempotency key. A repeat is answered whatever a new job would meet: a full queue, a full disk, a
    type that cannot run any more; and its files are only looked at.
    """
    first = await first_with(request, key)
    if first is None and name is not None:
        _refuse_when_full(request, find_type(request, name))
    elif first is None:
        refuse_when_disk_is_full(request)
    async with _read_asked(request, name, storing_files=first is None) as asked:
        fingerprint = asked.fingerprint()
        if first is None:
            job_type = find_type(request, asked.type)
            new = _validated(request, job_type, asked)
            place_files = _placing(request, new, asked)
            inserted = await insert_new_once(
                request, job_type, new, place_files, key_for(request, key, fingerprint, new)
            )
            if isinstance(inserted, Job):
                return Submitted(inserted)
            first = inserted
        return Submitted(await first_job(request, first, fingerprint), replayed=True)


@asynccontextmanager
async def _read_asked(request: web.Request, name: str | None, *, storing_files: bool) -> AsyncIterator[_Asked]:
    """The request as it is written: of the type `name`, or with `None` of the one that its envelope names."""
    options = query(request, NoQuery if name is None else SubmitOptions)

    def understood(body: Body, incoming: Path | None, *, form: bool) -> _Asked:
        if name is None or not isinstance(options, SubmitOptions):
            return _enveloped(body, incoming, strict=False if form else None)
        return _typed_form(name, options, body, incoming) if form else _asked_json(name, options, body)

    if not _is_form(request):
        yield understood(Body(await json_body(request)), None, form=False)
        return
    pointer = "/input" if name is None else ""
    async with _received_form(request, pointer, storing_files=storing_files, hashing=True) as (body, incoming):
        yield understood(body, incoming, form=True)


def _asked_json(name: str, options: SubmitOptions, body: Body) -> _Asked:
    return _Asked(name, _object(body.fields, ""), options, body, None, "")


def _typed_form(name: str, options: SubmitOptions, body: Body, incoming: Path | None) -> _Asked:
    _only(body, {INPUT_PART})
    return _Asked(name, _object(body.fields.get(INPUT_PART, {}), ""), options, body, incoming, "")


def _enveloped(body: Body, incoming: Path | None, *, strict: bool | None) -> _Asked:
    """`strict` is false for a form: its parts are text, whatever they stand for."""
    fields = _object(body.fields, "")
    if strict is False and EVENTS_PART in fields:
        fields = fields | {EVENTS_PART: separated(fields[EVENTS_PART])}
    envelope = validate(Envelope, fields, strict=strict)
    return _Asked(envelope.type, envelope.input, envelope, body, incoming, "/input")


def _refuse_when_full(request: web.Request, job_type: JobType) -> None:
    """Before an upload is read for nothing."""
    refuse_when_disk_is_full(request)
    request.app[STORE].check_room(caller(request).owner, job_type.name, job_type.max_queued)


def _is_form(request: web.Request) -> bool:
    return media_type(request) == "multipart/form-data"


def find_type(request: web.Request, name: str) -> JobType:
    """The type, if it is served and can run here. Raises `Problem`."""
    _refuse_when_stopping(request)
    job_type = request.app[REGISTRY].get(name)
    if job_type is None:
        raise Problem("not-found", "There is no such job type; GET /job-types lists them.")
    reason = job_type.unavailable()
    if reason is not None:
        raise Problem("job-type-unavailable", reason)
    return job_type


def _refuse_when_stopping(request: web.Request) -> None:
    if request.app[STATE].stopping:
        raise _stopping()


def _stopping() -> Problem:
    return Problem("stopping", "Try again when the server is back.", retry_after_s=2)


async def refuse_unread(app: web.Application) -> None:
    """At shutdown aiohttp hears no more of a body, so whoever waits for the rest of one is told now."""
    for content in app[STATE].reading:
        content.set_exception(_stopping())


@asynccontextmanager
async def _received_form(
    request: web.Request, input_pointer: str, *, storing_files: bool = True, hashing: bool = False
) -> AsyncIterator[tuple[Body, Path | None]]:
    """A form's body, and the directory of its uploads; what was not accepted is removed at the end."""
    settings, reading = request.app[SETTINGS], request.app[STATE].reading
    reading.add(request.content)
    incoming: Path | None = None
    if storing_files:
        with storing():
            incoming = await asyncio.to_thread(request.app[FILES].new_incoming)
    try:
        body = await read_multipart(request, settings, incoming, input_pointer, hashing=hashing)
        reading.discard(request.content)
        yield body, incoming
    finally:
        reading.discard(request.content)
        if incoming is not None:
            await asyncio.to_thread(shutil.rmtree, incoming, True)


def _only(body: Body, allowed: set[str]) -> None:
    for name in body.fields.keys() - allowed:
        raise Problem("validation-failed", f"{name} must be a file, or stand in the part input.",
                      errors=[(f"/{name}", "is no file part")])  # fmt: skip


def _object(fields: Any, pointer: str) -> dict[str, Any]:
    if not isinstance(fields, dict):
        raise Problem("validation-failed", "The body must be an object.", errors=[(pointer, "must be an object")])
    return fields


async def _insert(request: web.Request, job_type: JobType, asked: _Asked) -> Job:
    """Validate the input, make the uploads the job's, insert its row: only then is the job accepted."""
    new = _validated(request, job_type, asked)
    return await insert_new(request, job_type, new, _placing(request, new, asked))


async def insert_new(
    request: web.Request, job_type: JobType, new: NewJob, place_files: Callable[[], None] | None
) -> Job:
    """Files before the row: `place_files` puts the inputs where the job finds them, and they go if it is refused."""
    try:
        if place_files is not None:
            with storing():
                await asyncio.to_thread(place_files)
        return await request.app[STORE].insert(new, job_type.max_queued)
    except Exception:
        if place_files is not None:
            await asyncio.to_thread(request.app[FILES].remove_job, new.id)
        raise


async def insert_new_once(
    request: web.Request,
    job_type: JobType,
    new: NewJob,
    place_files: Callable[[], None] | None,
    key: IdempotencyKey,
) -> Job | FirstSubmission:
    """`insert_new`, unless somebody was quicker with this key: then the files go again."""
    try:
        if place_files is not None:
            with storing():
                await asyncio.to_thread(place_files)
        inserted = await request.app[STORE].insert(new, job_type.max_queued, key)
    except Exception:
        if place_files is not None:
            await asyncio.to_thread(request.app[FILES].remove_job, new.id)
        raise
    if place_files is not None and not isinstance(inserted, Job):
        await asyncio.to_thread(request.app[FILES].remove_job, new.id)
    return inserted


def _validated(request: web.Request, job_type: JobType, asked: _Asked) -> NewJob:
    input_json = to_json(asked.fields)
    _check_files(job_type, asked.fields, asked.body, asked.prefix)
    _check_input(job_type, input_json, asked.body, asked.prefix)
    _refuse_when_stopping(request)  # an upload may have taken a while
    return _new_job(request, job_type, input_json, asked.options, asked.body)


def _placing(request: web.Request, new: NewJob, asked: _Asked) -> Callable[[], None] | None:
    """What makes the uploads the job's, if there are any."""
    if asked.incoming is None or not asked.body.uploads:
        return None
    return partial(request.app[FILES].accept_incoming, asked.incoming, new.id)


def _check_files(job_type: JobType, fields: dict[str, Any], body: Body, prefix: str) -> None:
    """Raises `Problem` for a file that is no file part, and for one that the type does not take."""
    if not job_type.uploads and not body.uploads:
        return
    for name in job_type.uploads.keys() & fields.keys():
        pointer = f"{prefix}/{name}"
        raise Problem("validation-failed", "A file is a part of its own.", errors=[(pointer, "must be a file part")])
    for name in body.uploads.keys() - job_type.uploads.keys():
        raise Problem(
            "validation-failed", "The job type takes no such file.", errors=[(f"/{name}", "is no file field")]
        )


def _check_input(job_type: JobType, input_json: bytes, body: Body, prefix: str) -> None:
    """Raises `Problem` with a pointer for each error."""
    # The path is the child's to know; here only the file's presence is checked.
    uploads = {
        name: Upload(Path(), file.filename, file.content_type, file.size_bytes) for name, file in body.uploads.items()
    }
    try:
        job_type.parse_input(input_json, uploads)
    except ValidationError as error:
        raise invalid(error, prefix) from None


def _new_job(request: web.Request, job_type: JobType, input_json: bytes, options: SubmitOptions, body: Body) -> NewJob:
    settings = request.app[SETTINGS]
    webhook = _webhook(request, job_type, options)
    job_id, created_at = request.app[IDS].new(utc_now())
    retain_s = job_type.retain_s if options.retain_seconds is None else options.retain_seconds
    return NewJob(
        id=job_id,
        owner=caller(request).owner,
        type=job_type.name,
        input_json=input_json.decode(),
        created_at=created_at,
        run_at=created_at if options.run_at is None else options.run_at,
        retain_s=settings.retain_s if retain_s is None else retain_s,
        label=options.label,
        priority=options.priority,
        max_attempts=job_type.max_attempts,
        timeout_s=options.timeout_seconds or job_type.timeout_s,
        uploads=tuple(body.uploads.values()),
        webhook=webhook,
    )


def _webhook(request: web.Request, job_type: JobType, options: SubmitOptions) -> Webhook | None:
    """Whom the job tells of what. Raises `Problem` for a URL that nothing is sent to."""
    url = job_type.webhook_url if options.webhook_url is None else options.webhook_url
    if url is None:
        if options.webhook_events:
            errors = [("/webhookEvents", "needs webhookUrl: this job type has no default")]
            raise Problem("validation-failed", errors=errors)
        return None
    try:
        checked = check_url(url, request.app[ALLOWED])
    except UrlRefusedError as error:
        raise Problem("validation-failed", str(error), errors=[("/webhookUrl", str(error))]) from None
    return Webhook(checked, frozenset(map(WebhookEvent, options.webhook_events)) or DEFAULT_EVENTS)
