"""Submissions: one operation for any type with an envelope, and one for each job type with its own schema."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ...authoring.job_types import JobType
from ...authoring.uploads import INPUT_PART
from ...service.options import SubmitOptions
from ..requests.envelope import BodyOptions, Envelope
from ..requests.query import NoQuery
from .jobs import ACCEPTED, FINISHED, KEY_PROBLEMS, SUBMISSION_HEADERS
from .operation import REF, Operation, Operations, Schema, closed_object, json_content, ref

PROBLEMS = (
    "malformed-request", "body-timeout", "too-large", "unsupported-media-type", "validation-failed",
    "queue-full", "quota-exceeded", "storage-quota-exceeded", "disk-full", "store-unavailable", "stopping",
    "job-type-unavailable", *KEY_PROBLEMS,
)  # fmt: skip


SIXTY_FOUR_BITS: Schema = {"minimum": -(2**63), "maximum": 2**63 - 1}
"""The bounds of every integer: the server accepts no others."""


def operations(job_types: Iterable[JobType]) -> Operations:
    """The ways to submit a job."""
    return {
        ("POST", "/jobs"): _enveloped(),
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
        query=NoQuery,
        content=json_content(ref(Envelope)) | _form(_envelope_form()),
        content_required=True,
        headers=SUBMISSION_HEADERS,
        answers={200: FINISHED, 202: ACCEPTED},
        problems=("not-found", *PROBLEMS),
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
        content=json_content(anything) | _form(anything),
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
    if not required & parts.keys():
        content = json_content(rest, _example(rest)) | content
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


def _options() -> Schema:
    properties: Schema = BodyOptions.model_json_schema(ref_template=REF)["properties"]
    return properties


def _example(schema: Schema) -> Any:
    """The example that the type's author gives; otherwise an empty object if nothing is required."""
    given = schema.get("examples")
    return given[0] if given else None if schema.get("required") else {}


def _file(schema: Schema) -> Schema:
    """An optional file part is left out of the form: no part can be `null`."""
    said = {key: value for key, value in schema.items() if key in ("title", "description", "contentMediaType")}
    return {**said, "type": "string", "format": "binary"}


def _form(schema: Schema) -> dict[str, Schema]:
    return {"multipart/form-data": {"schema": schema, "encoding": {INPUT_PART: {"contentType": "application/json"}}}}


def _whole(job_type: JobType) -> Schema:
    """The input's schema; that of a recursive model is only a reference to itself."""
    whole = job_type.input_object
    moved: Schema = hoisted({key: value for key, value in whole.items() if key != "$defs"}, job_type.name)
    return moved


def hoisted(part: Any, prefix: str) -> Any:
    """A schema whose references point to where `definitions` puts their targets.

    `#/$defs/…` would point into the document's root.
    """
    if isinstance(part, list):
        return [hoisted(item, prefix) for item in part]
    if not isinstance(part, Mapping):
        return part
    bounds = SIXTY_FOUR_BITS if part.get("type") == "integer" else {}
    return bounds | {
        key: REF.format(model=f"{prefix}.{value.removeprefix('#/$defs/')}")
        if key == "$ref" and isinstance(value, str)
        else hoisted(value, prefix)
        for key, value in part.items()
    }
