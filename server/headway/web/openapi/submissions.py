"""Submissions: one operation for any type with an envelope, and one for each job type with its own schema."""

import re
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any

from ...authoring.job_types import JobType
from ...authoring.uploads import INPUT_PART
from ...representation import JobDetail, JobView
from ...service.many.action_state import FAILURES_LISTED
from ...service.options import SubmitOptions
from ...service.uploads.naming import NAME_PATTERN
from ..endpoints.actions import ActionBody
from ..requests.batches import MAX_JOBS
from ..requests.envelope import BodyOptions, Envelope
from ..requests.query import NoQuery
from . import examples
from .jobs import ACCEPTED, FINISHED, KEY_PROBLEMS, SUBMISSION_HEADERS
from .operation import (
    RATE_HEADERS,
    REF,
    Operation,
    Operations,
    Schema,
    answered,
    any_file,
    array,
    closed_object,
    json_content,
    or_null,
    ref,
)

PROBLEMS = (
    "malformed-request", "body-timeout", "too-large", "unsupported-media-type", "validation-failed",
    "queue-full", "quota-exceeded", "storage-quota-exceeded", "disk-full", "store-unavailable", "stopping",
    "job-type-unavailable", *KEY_PROBLEMS,
)  # fmt: skip
BATCH_PROBLEMS = (
    "malformed-request", "body-timeout", "too-large", "unsupported-media-type", "validation-failed", "disk-full",
    "store-unavailable", "stopping", "idempotency-key-reused",
)  # fmt: skip
"""Those of the whole batch. Those of one job are in its outcome."""
ACTION_PROBLEMS = (
    "malformed-request", "body-timeout", "too-large", "unsupported-media-type", "validation-failed", "quota-exceeded",
    "storage-quota-exceeded", "disk-full", "store-unavailable", "stopping", *KEY_PROBLEMS,
)  # fmt: skip


RAW_FILE = any_file("The file itself, of any media type but `application/json`.")

AN_UPLOAD = "01a1fa65-5e24-7000-907c-ce2934a25699"
"""The id of an upload, for examples."""

SIXTY_FOUR_BITS: Schema = {"minimum": -(2**63), "maximum": 2**63 - 1}
"""The bounds of every integer: the server accepts no others."""


def operations(job_types: Iterable[JobType]) -> Operations:
    """The ways to submit a job."""
    return {
        ("POST", "/jobs"): _enveloped(),
        ("POST", "/jobs/batch"): _batch(),
        ("POST", "/jobs/actions"): _action(),
        ("POST", "/jobs/{id}"): _named(),
        **{_route(job_type): typed(job_type) for job_type in job_types},
    }


def definitions(job_types: Iterable[JobType]) -> Schema:
    """The definitions in the types' schemas, by the names that `hoisted` gives them."""
    return {
        f"{job_type.name}.{name}": hoisted(definition, job_type.name)
        for job_type in job_types
        for name, definition in job_type.input_schema.get("$defs", {}).items()
    }


def _route(job_type: JobType) -> tuple[str, str]:
    return ("POST", f"/jobs/{job_type.name}")


def _enveloped() -> Operation:
    """The envelope as JSON, or its fields and the files as parts of a form."""
    return Operation(
        id="submitJob",
        tag="submit",
        summary="Submit a job of any type",
        description="With its type, its input and its options in one object.",
        query=NoQuery,
        content=json_content(ref(Envelope), examples.ENVELOPE) | _form(_envelope_form()),
        content_required=True,
        headers=SUBMISSION_HEADERS,
        answers={200: FINISHED, 202: ACCEPTED},
        problems=("not-found", *PROBLEMS),
    )


def _batch() -> Operation:
    """Any value may stand in the list: what is no envelope is a job that is refused, and the others are accepted."""
    jobs = {"type": "array", "items": {}, "minItems": 1, "maxItems": MAX_JOBS}
    outcome = closed_object(
        status={"type": "integer", "description": "202 if it is accepted, otherwise that of its problem"},
        jobId=or_null("string"),
        location=or_null("string") | {"description": "The URL of the job."},
        retryAfterSeconds=or_null("integer") | {"description": "When it can be sent again, if it was refused for now."},
        problem={"anyOf": [{"$ref": REF.format(model="Problem")}, {"type": "null"}]},
    )
    count: Schema = {"type": "integer", "minimum": 0, "maximum": MAX_JOBS}
    return Operation(
        id="submitBatch",
        tag="submit",
        summary="Submit up to 1,000 jobs at once",
        description=(
            "Each job is an envelope, as for `POST /jobs`, and is accepted or refused by itself. All that are accepted "
            "become durable together. Outcomes are in the order of the jobs; the pointers in a problem begin at its "
            "job. An idempotency key stands for the whole batch: a repetition returns the outcomes of the first."
        ),
        query=NoQuery,
        content=json_content(closed_object(jobs=jobs), examples.BATCH),
        content_required=True,
        headers=("Idempotency-Key",),
        answers={
            200: answered(
                "What became of each job",
                closed_object(accepted=count, refused=count, outcomes=array(outcome)),
                examples.OUTCOMES,
                sometimes=("Idempotency-Replayed", *RATE_HEADERS),
            )
        },
        problems=BATCH_PROBLEMS,
    )


def _action() -> Operation:
    return Operation(
        id="actOnJobs",
        tag="jobs",
        summary="Cancel, purge or retry many jobs",
        description=(
            "Either the jobs with the `ids`, or those that match the `filter`, which takes what lists take. The action "
            "is a job itself, of the type `actions`: poll it, watch it, cancel it. Its result counts the jobs by "
            f"outcome, and lists the first {FAILURES_LISTED} that it failed for. It survives crashes, handles each job "
            "once, and fails with the error `forbidden` once the API key that started it is revoked. Jobs that are "
            "accepted after it are left alone."
        ),
        query=NoQuery,
        content=json_content(ref(ActionBody), examples.ACTION, examples.ACTION_BY_IDS),
        content_required=True,
        headers=SUBMISSION_HEADERS,
        answers={
            200: replace(FINISHED, content=json_content(ref(JobDetail), examples.ACTION_COMPLETED)),
            202: replace(ACCEPTED, content=json_content(ref(JobView), examples.ACTION_QUEUED)),
        },
        problems=ACTION_PROBLEMS,
    )


def _envelope_form() -> Schema:
    """A field that is optional or `null` in JSON is optional here."""
    schema = Envelope.model_json_schema(ref_template=REF)
    schema["properties"] = {name: _as_text(_without_null(field)) for name, field in schema["properties"].items()}
    return schema


def _as_text(field: Schema) -> Schema:
    """A part of a form is text; a list of words is separated by commas."""
    if field.get("type") != "array":
        return field
    word = "|".join(map(re.escape, field["items"]["enum"]))
    said = {key: value for key, value in field.items() if key in ("title", "description")}
    return said | {"type": "string", "pattern": f"^({word})(,({word}))*$"}


def _without_null(field: Schema) -> Schema:
    if "anyOf" not in field:
        return field
    said = {key: value for key, value in field.items() if key not in ("anyOf", "default")}
    choice: Schema = next(choice for choice in field["anyOf"] if choice != {"type": "null"})
    return said | choice


def _named() -> Operation:
    """The path that stands for all types; the operation of each type has its schema."""
    anything: Schema = {"type": "object"}
    return Operation(
        id="submitNamedJob",
        tag="submit",
        summary="Submit a job of the type in the path",
        description="Each type has its own operation, with the schema of its input.",
        query=SubmitOptions,
        content=json_content(anything, examples.BARE_INPUT) | _form(anything),
        headers=SUBMISSION_HEADERS,
        answers={200: FINISHED, 202: ACCEPTED},
        problems=("not-found", *PROBLEMS),
    )


def typed(job_type: JobType, *, options_beside: bool = False) -> Operation:
    """The type's own schema, as JSON or as a form with its files. `options_beside`: options may stand in it too."""
    schema = _whole(job_type)
    properties = (_options() if options_beside else {}) | schema.get("properties", {})
    parts = {name: _file(properties.pop(name)) for name in job_type.uploads}
    required = set(schema.get("required", ()))
    rest = {**schema, "properties": properties, "required": sorted(required - parts.keys())}
    needed = sorted(required & parts.keys()) + ([INPUT_PART] if required - parts.keys() else [])
    content = _form(closed_object(**parts, **{INPUT_PART: rest}) | {"required": needed})
    whole = _with_named_uploads(rest, parts, required)
    content = _inline_example(json_content(whole), None if required & parts.keys() else _example(whole)) | content
    if job_type.only_upload is not None:
        content = content | RAW_FILE
    return Operation(
        id=f"submit-{job_type.name}",
        tag="submit",
        summary=job_type.title,
        description=job_type.description or f"The body is the input of `{job_type.name}`; options are parameters.",
        query=SubmitOptions,
        content=content,
        content_required=bool(required),
        headers=SUBMISSION_HEADERS,
        answers={200: FINISHED, 202: ACCEPTED},
        problems=PROBLEMS,
    )


def _options() -> Schema:
    properties: Schema = BodyOptions.model_json_schema(ref_template=REF)["properties"]
    return properties


def _inline_example(content: dict[str, Schema], example: Any) -> dict[str, Schema]:
    return {name: each if example is None else each | {"example": example} for name, each in content.items()}


def _example(schema: Schema) -> Any:
    """The example that the type's author gives; otherwise an empty object if nothing is required."""
    given = schema.get("examples")
    return given[0] if given else None if schema.get("required") else {}


def _file(schema: Schema) -> Schema:
    """An optional file part is left out of the form: no part can be `null`."""
    said = {key: value for key, value in schema.items() if key in ("title", "description", "contentMediaType")}
    return {**said, "type": "string", "format": "binary"}


def _with_named_uploads(rest: Schema, parts: Mapping[str, Schema], required: AbstractSet[str]) -> Schema:
    """The schema of JSON: in it, and in its examples, uploads are named."""
    properties = rest["properties"] | {name: _named_upload(part) for name, part in parts.items()}
    whole = {**rest, "properties": properties, "required": sorted(required)}
    named = dict.fromkeys(sorted(required & parts.keys()), AN_UPLOAD)
    if "examples" in rest:
        whole["examples"] = [each | named for each in rest["examples"]]
    elif named.keys() == required:
        whole["examples"] = [named]
    return whole


def _named_upload(file: Schema) -> Schema:
    """In JSON a resumable upload stands for the file."""
    said = {key: value for key, value in file.items() if key == "title"}
    return {**said, "type": "string", "description": "A resumable upload: its id or URL.", "pattern": NAME_PATTERN}


def _form(schema: Schema) -> dict[str, Schema]:
    return {"multipart/form-data": {"schema": schema, "encoding": {INPUT_PART: {"contentType": "application/json"}}}}


def _whole(job_type: JobType) -> Schema:
    """The input's schema; that of a recursive model is only a reference to itself."""
    whole = job_type.input_object
    moved: Schema = hoisted({key: value for key, value in whole.items() if key != "$defs"}, job_type.name)
    return moved


def _bounds(integer: Mapping[str, Any]) -> Schema:
    """What the server adds to the type's own bounds, which may be exclusive."""
    own = {name.removeprefix("exclusive").lower() for name in integer if name.startswith("exclusive")}
    return {name: bound for name, bound in SIXTY_FOUR_BITS.items() if name not in own}


def hoisted(part: Any, prefix: str) -> Any:
    """A schema whose references point to where `definitions` puts their targets.

    `#/$defs/…` would point into the document's root.
    """
    if isinstance(part, list):
        return [hoisted(item, prefix) for item in part]
    if not isinstance(part, Mapping):
        return part
    bounds = _bounds(part) if part.get("type") == "integer" else {}
    return bounds | {
        key: REF.format(model=f"{prefix}.{value.removeprefix('#/$defs/')}")
        if key == "$ref" and isinstance(value, str)
        else hoisted(value, prefix)
        for key, value in part.items()
    }
