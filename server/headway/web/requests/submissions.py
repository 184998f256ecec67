"""Reading submissions: JSON, a form or a file, typed or enveloped, into one `Submission`."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from ...authoring.uploads import INPUT_PART
from ...domain.access import Caller
from ...errors import InvalidError, StoppingError
from ...ports.jobs import Hold
from ...service.accepting import Accepted
from ...service.admission import FREE_SPACE_MAX_AGE_S, STOPPING_RETRY_S
from ...service.options import SubmitOptions, from_text, separated
from ...service.submission import Submission
from ...validation import validate
from ..identity.gate import caller, sharer
from ..identity.penalties import PENALTIES
from ..parts import PARTS, Parts, parts
from ..problems import Problem
from .bodies import JSON_TYPE, json_body, media_type
from .envelope import Envelope, with_options_beside
from .idempotency import given_key
from .multipart import FORM_TYPE, Body, read_multipart
from .query import NoQuery, query
from .raw import raw_field, read_raw
from .storing import storing

EVENTS_PART, METADATA_PART = "webhookEvents", "metadata"
_INPUT = "/input"
_PLAIN = {"type", "input"}
"""The fields of an envelope without options."""
NO_TYPE = (
    'The job type is missing: POST the input to /jobs/{type}, or send {"type": "…", "input": {…}} to /jobs. '
    "GET /job-types lists the types."
)


async def submit(request: web.Request, type_name: str | None, *, own_path: bool = False) -> Accepted:
    """Read the submission and accept it. Without `type_name` the body is an envelope, which names the type.

    `own_path`: it came to the type's own path, where options may stand beside the input's fields. Raises `Problem`, and
    what `Submitting.submit` raises.
    """
    key, asking, of = given_key(request), caller(request), parts(request)
    submitting = of.service.submitting
    first = None if key is None else await submitting.first_with(asking, key)
    options = query(request, NoQuery) if type_name is None else query(request, SubmitOptions)
    if first is None:  # what can never be accepted is not told to come back later
        _check_admission(request, of, asking, type_name)
    job_type = None if type_name is None else of.registry.get(type_name)
    own = job_type if own_path else None
    sent_as = media_type(request)
    raw = raw_field(sent_as, job_type)
    if raw is None and sent_as != FORM_TYPE:
        fields = await json_body(request, of.settings.max_body_bytes, (JSON_TYPE, FORM_TYPE))
        submission = _read(type_name, options, Body(fields), None, is_form=False)
        if own is not None:
            submission = with_options_beside(submission, own)
        return await submitting.submit(asking, submission, key, first)
    pointer = "/input" if type_name is None else ""
    new, hashing = first is None, key is not None
    async with _received_files(request, pointer, raw, storing_files=new, hashing=hashing) as (body, incoming, held):
        submission = _read(type_name, options, body, incoming, is_form=True)._replace(held=held)
        if own is not None:
            submission = with_options_beside(submission, own)
        return await submitting.submit(asking, submission, key, first)


def _check_admission(request: web.Request, of: Parts, asking: Caller, type_name: str | None) -> None:
    """Refuse what cannot be accepted before its body is read. The type of an envelope is not known yet."""
    request.app[PENALTIES].check(request)
    admission, size_bytes = of.service.admission, request.content_length or 0
    if type_name is None:
        admission.check_running()
        admission.check_space(size_bytes, FREE_SPACE_MAX_AGE_S)
    else:
        in_files = max(0, size_bytes - of.settings.max_body_bytes)  # all else is no larger than that
        admission.check(asking, type_name, size_bytes, in_files)


def _read(
    type_name: str | None, options: NoQuery | SubmitOptions, body: Body, incoming: Path | None, *, is_form: bool
) -> Submission:
    """The submission that a body describes."""
    if type_name is None or not isinstance(options, SubmitOptions):
        return enveloped(body, incoming, is_form=is_form)
    if is_form:
        for name in body.fields.keys() - {INPUT_PART}:
            detail = f"{name} must be a file, or a field of the part `input`."
            raise Problem("validation-failed", detail, errors=[(f"/{name}", "is not a file part")])
    fields = body.fields.get(INPUT_PART, {}) if is_form else body.fields
    return Submission(type_name, _object(fields), options, body.uploads, incoming, body.sums)


def enveloped(body: Body, incoming: Path | None = None, *, is_form: bool = False) -> Submission:
    """The submission in an envelope."""
    fields = _object(body.fields)
    if fields.keys() == _PLAIN and not is_form:
        type_name, given = fields["type"], fields["input"]
        if type(type_name) is str and type(given) is dict:  # nearly always; a model takes as long as all other checks
            return Submission(type_name, given, uploads=body.uploads, incoming=incoming, sums=body.sums, pointer=_INPUT)
    if is_form:
        fields = fields | _from_texts(fields)
    try:
        envelope = validate(Envelope, fields, strict=False if is_form else None)  # every value of a form is text
    except InvalidError as error:
        raise error if "type" in fields else InvalidError(error.errors, NO_TYPE) from None
    return Submission(envelope.type, envelope.input, envelope, body.uploads, incoming, body.sums, _INPUT)


def _from_texts(fields: dict[str, Any]) -> dict[str, Any]:
    """Those parts of a form that are more than a text."""
    found: dict[str, Any] = {}
    if EVENTS_PART in fields:
        found[EVENTS_PART] = separated(fields[EVENTS_PART])
    if METADATA_PART in fields:
        try:
            found[METADATA_PART] = from_text(fields[METADATA_PART])
        except ValueError as error:
            raise InvalidError([(f"/{METADATA_PART}", str(error))]) from None
    return found


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Problem("validation-failed", "The body must be a JSON object.", errors=[("", "must be an object")])
    return value


@asynccontextmanager
async def _received_files(
    request: web.Request, input_pointer: str, raw: str | None, *, storing_files: bool, hashing: bool
) -> AsyncIterator[tuple[Body, Path | None, Hold]]:
    """The body, a form or the file of the field `raw`, the directory of its uploads, and the room in quotas they hold.

    What was not accepted is removed at the end. Raises `Problem`, also if the sender has too many uploads under way.
    """
    settings, service, arriving = parts(request).settings, parts(request).service, parts(request).arriving
    incoming: Path | None = None
    held = service.admission.hold(caller(request))

    def check_room(more_bytes: int) -> None:
        service.admission.check_space(more_bytes)
        held.grow(more_bytes)

    with arriving.upload(sharer(request)), arriving.text(sharer(request)) as count_text:
        try:
            with arriving.receiving(request.content):
                if storing_files:
                    with storing():
                        incoming = await asyncio.to_thread(service.submitting.new_incoming)
                checks = () if incoming is None else (check_room,)
                if raw is not None:
                    body = await read_raw(request, settings, incoming, raw, *checks, hashing=hashing)
                else:
                    body = await read_multipart(
                        request, settings, incoming, input_pointer, *checks, count_text=count_text, hashing=hashing
                    )
            yield body, incoming, held
        finally:
            held.release()
            if incoming is not None:
                await asyncio.to_thread(shutil.rmtree, incoming, True)


async def refuse_unread(app: web.Application) -> None:
    """At shutdown: aiohttp receives no more of a body, so requests that wait for the rest of one are refused now."""
    for content in app[PARTS].arriving.contents:
        content.set_exception(StoppingError("Try again when the server is back.", STOPPING_RETRY_S))
