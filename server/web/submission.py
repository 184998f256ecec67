"""`POST /jobs` and `POST /jobs/{type}`: check, store the uploads, insert. Files before rows."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from pydantic import ValidationError
from pydantic_core import to_json

from ..clock import utc_now
from ..handlers import INPUT_PART, JobType, Upload
from ..jobs import Job, NewJob
from .auth import caller
from .intake import (
    Body,
    Envelope,
    NoQuery,
    SubmitOptions,
    invalid,
    query,
    read_json,
    read_multipart,
    storing,
    validate,
)
from .keys import FILES, IDS, REGISTRY, SETTINGS, STATE, STORE
from .limits import refuse_when_disk_is_full
from .problems import Problem


async def submit_typed(request: web.Request, name: str) -> Job:
    """A job of the type `name`: the body is the input, the options are query parameters."""
    job_type = find_type(request, name)
    options = query(request, SubmitOptions)
    refuse_when_disk_is_full(request)
    request.app[STORE].check_room(job_type.name, job_type.max_queued)  # before an upload is read for nothing
    if not _is_form(request):
        body = await _json_body(request)
        return await _insert(request, job_type, _object(body.fields, ""), options, body, None, "")
    async with _received_form(request, "") as (body, incoming):
        _only(body, {INPUT_PART})
        fields = body.fields.get(INPUT_PART, {})
        return await _insert(request, job_type, _object(fields, ""), options, body, incoming, "")


async def submit_envelope(request: web.Request) -> Job:
    """Type, input and options stand in the body; in a multipart body each in a part of its own."""
    query(request, NoQuery)
    refuse_when_disk_is_full(request)
    if not _is_form(request):
        return await _submit_enveloped(request, await _json_body(request), None)
    async with _received_form(request, "/input") as (body, incoming):
        return await _submit_enveloped(request, body, incoming)


async def _submit_enveloped(request: web.Request, body: Body, incoming: Path | None) -> Job:
    strict = None if incoming is None else False  # a form's parts are text, whatever they stand for
    envelope = validate(Envelope, _object(body.fields, ""), strict=strict)
    job_type = find_type(request, envelope.type)
    return await _insert(request, job_type, envelope.input, envelope, body, incoming, "/input")


def _is_form(request: web.Request) -> bool:
    return request.content_type == "multipart/form-data"


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


async def _json_body(request: web.Request) -> Body:
    settings, reading = request.app[SETTINGS], request.app[STATE].reading
    if request.content.is_eof():
        return Body(await read_json(request, settings))
    reading.add(request.content)
    try:
        return Body(await read_json(request, settings))
    finally:
        reading.discard(request.content)


@asynccontextmanager
async def _received_form(request: web.Request, input_pointer: str) -> AsyncIterator[tuple[Body, Path]]:
    """A form's body, and the directory of its uploads; what was not accepted is removed at the end."""
    settings, reading = request.app[SETTINGS], request.app[STATE].reading
    reading.add(request.content)
    with storing():
        incoming = await asyncio.to_thread(request.app[FILES].new_incoming)
    try:
        body = await read_multipart(request, settings, incoming, input_pointer)
        reading.discard(request.content)
        yield body, incoming
    finally:
        reading.discard(request.content)
        await asyncio.to_thread(shutil.rmtree, incoming, True)


def _only(body: Body, allowed: set[str]) -> None:
    for name in body.fields.keys() - allowed:
        raise Problem("validation-failed", f"{name} must be a file, or stand in the part input.",
                      errors=[(f"/{name}", "is no file part")])  # fmt: skip


def _object(fields: Any, pointer: str) -> dict[str, Any]:
    if not isinstance(fields, dict):
        raise Problem("validation-failed", "The body must be an object.", errors=[(pointer, "must be an object")])
    return fields


async def _insert(
    request: web.Request,
    job_type: JobType,
    fields: dict[str, Any],
    options: SubmitOptions,
    body: Body,
    incoming: Path | None,
    prefix: str,
) -> Job:
    """Validate the input, make the uploads the job's, insert its row: only then is the job accepted."""
    input_json = to_json(fields)
    _check_files(job_type, fields, body, prefix)
    _check_input(job_type, input_json, body, prefix)
    _refuse_when_stopping(request)  # an upload may have taken a while
    new = _new_job(request, job_type, input_json, options, body)

    def accept() -> None:
        if incoming is not None:
            request.app[FILES].accept_incoming(incoming, new.id)

    return await insert_new(request, job_type, new, accept if body.uploads else None)


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
    job_id, created_at = request.app[IDS].new(utc_now())
    retain_s = job_type.retain_s if options.retain_seconds is None else options.retain_seconds
    return NewJob(
        id=job_id,
        owner=caller(request),
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
    )
