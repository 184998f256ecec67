"""`/openapi.json`: OpenAPI 3.1, assembled from the models, the job types and the limits in force."""

from collections.abc import Mapping, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from aiohttp import web
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from pydantic_core import to_json

from ..handlers import JobType, Registry
from ..settings import Settings
from .endpoints import FileQuery, FilterQuery, ListQuery, LogsQuery, PurgeQuery
from .intake import MAX_LABEL_CHARS, MAX_PARTS, Envelope, LastEventQuery, SubmitOptions
from .keys import REGISTRY, SETTINGS
from .problems import KINDS
from .wire import JobDetail, JobView, LogLineView

Schema = dict[str, Any]

REF = "#/components/schemas/{model}"


async def openapi(request: web.Request) -> web.Response:
    """`GET /openapi.json`"""
    document = describe(request.app[REGISTRY], request.app[SETTINGS])
    return web.Response(body=to_json(document), content_type="application/json")


def describe(registry: Registry, settings: Settings) -> Schema:
    """The whole document."""
    schemas = _schemas()
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Headway",
            "version": _version(),
            "description": (
                "Long-running work with live progress: submit a job, get 202 at once, "
                "then poll it, listen to it, cancel it, take its result."
            ),
        },
        "servers": [{"url": "/"}],
        "paths": _paths(registry, schemas),
        "components": {"schemas": schemas},
        "x-limits": {
            "maxBodyBytes": settings.max_body_bytes,
            "maxUploadBytes": settings.max_upload_bytes,
            "bodyTimeoutSeconds": settings.body_timeout_s,
            "minFreeBytes": settings.min_free_bytes,
            "maxJsonDepth": settings.max_json_depth,
            "maxParts": MAX_PARTS,
            "maxLabelChars": MAX_LABEL_CHARS,
            "maxQueued": settings.max_queued,
            "maxRunning": settings.max_running,
            "retainSeconds": settings.retain_s,
            "heartbeatSeconds": settings.heartbeat_s,
        },
    }


def _version() -> str:
    try:
        return version("headway")
    except PackageNotFoundError:  # a checkout that was not installed
        return "0"


def _schemas() -> Schema:
    models: list[type[BaseModel]] = [JobView, JobDetail, LogLineView]
    inputs: list[type[BaseModel]] = [Envelope]
    _, output = models_json_schema([(model, "serialization") for model in models], ref_template=REF)
    _, entered = models_json_schema([(model, "validation") for model in inputs], ref_template=REF)
    problem = {
        "title": "Problem",
        "type": "object",
        "description": "RFC 9457",
        "properties": {
            "type": {"type": "string", "enum": [f"/problems/{kind}" for kind in KINDS]},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": ["string", "null"]},
            "instance": {"type": "string"},
            "jobError": {"$ref": REF.format(model="ErrorView")},
            "errors": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}},
                    "required": ["pointer", "detail"],
                },
            },
        },
        "required": ["type", "title", "status", "detail", "instance"],
    }
    return {**output["$defs"], **entered["$defs"], "Problem": problem}


def _paths(registry: Registry, schemas: Schema) -> Schema:
    """Every route. What the types' own schemas define is added to `schemas`."""
    job, detail = _ref("JobView"), _ref("JobDetail")
    list_schema = _object(jobs=_array(job), nextCursor={"type": ["string", "null"]})
    logs_schema = _object(lines=_array(_ref("LogLineView")), nextAfter={"type": ["integer", "null"]})
    counts = {"type": "object", "additionalProperties": {"type": "integer"}}
    stats_schema = _object(
        total={"type": "integer"}, byStatus=counts, byType={"type": "object", "additionalProperties": counts}
    )
    poll = {
        200: _answer("The job has ended", detail, "ETag"),
        202: _answer("The job is in progress", detail, "ETag", "Retry-After"),
        304: {"description": "The version is the same", "headers": _headers("ETag", "Retry-After")},
    }
    stream = {
        "description": "Server-sent events",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
    ended = {"description": "The id given was the job's last: nothing will follow"}
    file = {"description": "The file", "content": {"application/octet-stream": {}}}
    page = {"description": "A part of the page", "content": {"text/*": {}}}
    get = partial(_operation, "get")
    job_progress = get(
        "Watch a job",
        {200: stream, 204: ended},
        404,
        422,
        503,
        params=["id"],
        headers=["Last-Event-ID"],
        query=LastEventQuery,
    )
    return {
        "/jobs": {
            **get("List jobs, newest first", {200: _answer("A page", list_schema, "Link")}, 422, query=ListQuery),
            "post": _submission("Submit a job of any type", _envelope(), job),
        },
        **{f"/jobs/{job_type.name}": {"post": _typed(job_type, job, schemas)} for job_type in registry},
        "/jobs/stats": get("Count jobs by status and type", {200: _answer("The counts", stats_schema)}, 422),
        "/jobs/progress": get("Watch many jobs", {200: stream}, 422, 503, query=FilterQuery),
        "/jobs/{id}": {
            **get("Read a job", poll, 404, 422, params=["id"], headers=["If-None-Match"]),
            **_operation(
                "delete",
                "Cancel a job, or with `purge` delete it",
                {
                    202: _answer("Recorded, the job is still stopping", job, "Location", "Retry-After"),
                    204: {"description": "Done"},
                },
                404, 409, 422, 503,
                params=["id"], query=PurgeQuery,
            ),
        },
        "/jobs/{id}/progress": job_progress,
        "/jobs/{id}/logs": get(
            "Read a job's log", {200: _answer("Lines, oldest first", logs_schema)}, 404, 422,
            params=["id"], query=LogsQuery,
        ),
        "/jobs/{id}/retry": _operation(
            "post",
            "Repeat a failed or cancelled job as a new one",
            {202: _answer("Accepted, durably", job, "Location", "Retry-After")},
            404, 409, 422, 503,
            params=["id"],
        ),
        "/jobs/{id}/result": {
            **get(
                "Read a job's result",
                {200: _answer("What the handler returned", {})},
                404, 409, 410, 422,
                params=["id"],
            ),
            **_operation(
                "delete",
                "Delete result and output files, keep the record",
                {204: {"description": "Deleted"}},
                404, 409, 422, 503,
                params=["id"],
            ),
        },
        "/jobs/{id}/files/{name}": get(
            "Download an output file", {200: file, 206: file, 304: {"description": "The file is the same"}},
            404, 412, 416, 422, params=["id", "name"], headers=["Range", "If-Range", "If-None-Match"], query=FileQuery,
        ),
        "/job-types": get("List job types", {200: _answer("The types", _job_types())}, 422),
        "/healthz": get("Liveness", {200: _answer("The process answers", {"type": "object"})}),
        "/readyz": get("Readiness", {200: _answer("The server takes work", {"type": "object"})}, 503),
        "/openapi.json": get("This document", {200: _answer("OpenAPI 3.1", {"type": "object"})}),
        "/": get("The page", {200: page}),
        "/static/{path}": get("A part of the page", {200: page}, 404, params=["path"]),
    }  # fmt: skip


def _job_types() -> Schema:
    schema: Schema = {"type": "object"}
    number: Schema = {"type": ["number", "null"]}
    text: Schema = {"type": "string"}
    limits = _object(
        maxAttempts={"type": "integer"}, timeoutSeconds=number, concurrency={"type": ["integer", "null"]},
        retainSeconds=number,
    )  # fmt: skip
    job_type = _object(
        name=text, title=text, description=text, inputSchema=schema, outputSchema=schema, uploads=_array(text),
        limits=limits, available={"type": "boolean"}, unavailableReason={"type": ["string", "null"]},
    )  # fmt: skip
    return _object(jobTypes=_array(job_type))


def _operation(
    method: str,
    summary: str,
    answers: Mapping[int, Schema],
    *problems: int,
    params: Sequence[str] = (),
    headers: Sequence[str] = (),
    query: type[BaseModel] | None = None,
) -> Schema:
    parameters = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in params]
    parameters += [{"name": name, "in": "header", "schema": {"type": "string"}} for name in headers]
    parameters += _query_parameters(query)
    operation: Schema = {"summary": summary, "responses": _responses(answers, *problems)}
    if parameters:
        operation["parameters"] = parameters
    return {method: operation}


def _query_parameters(model: type[BaseModel] | None) -> list[Schema]:
    """Comma-separated alternatives are arrays without `explode`."""
    if model is None:
        return []
    schema = model.model_json_schema(ref_template=REF)
    found: list[Schema] = []
    for name, field in schema["properties"].items():
        parameter: Schema = {"name": name, "in": "query", "schema": _inlined(field, schema.get("$defs", {}))}
        if field.get("type") == "array":
            parameter |= {"style": "form", "explode": False}
        found.append(parameter)
    return found


def _inlined(schema: Any, definitions: Mapping[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_inlined(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return definitions[schema["$ref"].rsplit("/", 1)[1]]
    return {key: _inlined(value, definitions) for key, value in schema.items()}


def _envelope() -> Schema:
    """`POST /jobs`: the envelope as JSON, or its fields and the files as parts of a form."""
    return _content(_ref("Envelope")) | _form(_ref("Envelope"))


def _form(schema: Schema) -> Schema:
    return {"multipart/form-data": {"schema": schema, "encoding": {"input": {"contentType": "application/json"}}}}


def _typed(job_type: JobType, job: Schema, schemas: Schema) -> Schema:
    """`POST /jobs/{type}` for one type: its own schema, as JSON or as a form with its files."""
    schema = _hoisted(job_type.input_schema, job_type.name, schemas)
    properties = dict(schema.get("properties", {}))
    parts = {name: properties.pop(name) for name in job_type.uploads}
    required = set(schema.get("required", ()))
    rest = {**schema, "properties": properties, "required": sorted(required - parts.keys())}
    needed = sorted(required & parts.keys()) + (["input"] if required - parts.keys() else [])
    content = _form(_object(**parts, input=rest) | {"required": needed})
    if not required & parts.keys():
        content = _content(rest) | content
    return _submission(job_type.title, content, job, job_type.description, SubmitOptions)


def _hoisted(schema: Schema, job_type: str, schemas: Schema) -> Schema:
    """The schema with its `$defs` moved to `schemas`: `#/$defs/…` would point into this document's root."""
    names = {f"#/$defs/{name}": f"{job_type}.{name}" for name in schema.get("$defs", {})}

    def moved(part: Any) -> Any:
        if isinstance(part, list):
            return [moved(item) for item in part]
        if not isinstance(part, dict):
            return part
        return {
            key: REF.format(model=names[value])
            if key == "$ref" and isinstance(value, str) and value in names
            else moved(value)
            for key, value in part.items()
        }

    for name, definition in schema.get("$defs", {}).items():
        schemas[f"{job_type}.{name}"] = moved(definition)
    # A recursive model is nothing but a reference to itself.
    whole = schema["$defs"][schema["$ref"].rsplit("/", 1)[1]] if "$ref" in schema else schema
    hoisted: Schema = moved({key: value for key, value in whole.items() if key != "$defs"})
    return hoisted


def _submission(
    summary: str, content: Schema, job: Schema, description: str = "", options: type[BaseModel] | None = None
) -> Schema:
    answers = {202: _answer("Accepted, durably", job, "Location", "Retry-After")}
    return {
        "summary": summary,
        "description": description,
        "parameters": _query_parameters(options),
        "requestBody": {"content": content},
        "responses": _responses(answers, 400, 404, 408, 413, 415, 422, 503),
    }


def _responses(answers: Mapping[int, Schema], *problems: int) -> Schema:
    responses = {str(status): answer for status, answer in answers.items()}
    for status in problems:
        kinds = ", ".join(kind for kind, (of_kind, _) in KINDS.items() if of_kind == status)
        responses[str(status)] = {
            "description": kinds,
            "content": {"application/problem+json": {"schema": _ref("Problem")}},
        }
    responses["default"] = {
        "description": "Any other error",
        "content": {"application/problem+json": {"schema": _ref("Problem")}},
    }
    return responses


def _answer(description: str, schema: Schema, *headers: str) -> Schema:
    answer: Schema = {"description": description, "content": _content(schema)}
    if headers:
        answer["headers"] = _headers(*headers)
    return answer


def _headers(*names: str) -> Schema:
    return {name: {"schema": {"type": "string"}} for name in names}


def _content(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}


def _ref(name: str) -> Schema:
    return {"$ref": REF.format(model=name)}


def _array(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _object(**properties: Any) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": sorted(properties),
        "additionalProperties": False,
    }
