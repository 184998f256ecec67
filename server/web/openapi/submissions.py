"""Submissions: of any type with an envelope, and of each job type with its own schema."""

from collections.abc import Iterable, Mapping
from typing import Any

from ...handlers import INPUT_PART, JobType
from ..intake import Envelope, NoQuery, SubmitOptions
from .jobs import ACCEPTED, FINISHED, KEY_PROBLEMS, SUBMISSION_HEADERS
from .operation import REF, Operation, Operations, Schema, closed_object, json_content, ref

PROBLEMS = (
    "malformed-request", "body-timeout", "too-large", "unsupported-media-type", "validation-failed",
    "queue-full", "disk-full", "store-unavailable", "stopping", "job-type-unavailable", *KEY_PROBLEMS,
)  # fmt: skip


def operations(job_types: Iterable[JobType]) -> Operations:
    """How jobs are submitted."""
    return {("POST", "/jobs"): _enveloped(), **{_route(job_type): typed(job_type) for job_type in job_types}}


def definitions(job_types: Iterable[JobType]) -> Schema:
    """What the types' schemas define, by the names that `hoisted` gives."""
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
        query=NoQuery,
        content=json_content(ref(Envelope)) | _form(ref(Envelope)),
        content_required=True,
        headers=SUBMISSION_HEADERS,
        answers={200: FINISHED, 202: ACCEPTED},
        problems=("not-found", *PROBLEMS),
    )


def typed(job_type: JobType) -> Operation:
    """The type's own schema, as JSON or as a form with its files."""
    schema = _whole(job_type)
    properties = dict(schema.get("properties", {}))
    parts = {name: properties.pop(name) for name in job_type.uploads}
    required = set(schema.get("required", ()))
    rest = {**schema, "properties": properties, "required": sorted(required - parts.keys())}
    needed = sorted(required & parts.keys()) + ([INPUT_PART] if required - parts.keys() else [])
    content = _form(closed_object(**parts, **{INPUT_PART: rest}) | {"required": needed})
    if not required & parts.keys():
        content = json_content(rest) | content
    return Operation(
        id=f"submit-{job_type.name}",
        tag="submit",
        summary=job_type.title,
        description=job_type.description,
        query=SubmitOptions,
        content=content,
        content_required=bool(required),
        headers=SUBMISSION_HEADERS,
        answers={200: FINISHED, 202: ACCEPTED},
        problems=PROBLEMS,
    )


def _form(schema: Schema) -> dict[str, Schema]:
    return {"multipart/form-data": {"schema": schema, "encoding": {INPUT_PART: {"contentType": "application/json"}}}}


def _whole(job_type: JobType) -> Schema:
    """The input's schema; a recursive model is nothing but a reference to itself."""
    schema = job_type.input_schema
    whole = schema["$defs"][schema["$ref"].rsplit("/", 1)[1]] if "$ref" in schema else schema
    moved: Schema = hoisted({key: value for key, value in whole.items() if key != "$defs"}, job_type.name)
    return moved


def hoisted(part: Any, prefix: str) -> Any:
    """A schema with references to where `definitions` puts what they name.

    `#/$defs/…` would point into the document's root.
    """
    if isinstance(part, list):
        return [hoisted(item, prefix) for item in part]
    if not isinstance(part, Mapping):
        return part
    return {
        key: REF.format(model=f"{prefix}.{value.removeprefix('#/$defs/')}")
        if key == "$ref" and isinstance(value, str)
        else hoisted(value, prefix)
        for key, value in part.items()
    }
