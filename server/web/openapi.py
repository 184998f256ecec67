"""`/openapi.json`: OpenAPI 3.1, assembled from the models, the job types and the limits in force."""

from collections.abc import Mapping
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
from .intake import Envelope, SubmitOptions
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
        "paths": _paths(registry),
        "components": {"schemas": _schemas()},
        "x-limits": {
            "maxBodyBytes": settings.max_body_bytes,
            "maxUploadBytes": settings.max_upload_bytes,
            "maxJsonDepth": settings.max_json_depth,
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


def _paths(registry: Registry) -> Schema:
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
        304: {"description": "The version is the same"},
    }
    stream = {
        "description": "Server-sent events",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
    ended = {"description": "The id given was the job's last: nothing will follow"}
    file = {"description": "The file", "content": {"application/octet-stream": {}}}
    get = partial(_operation, "get")
    return {
        "/jobs": {
            **get("List jobs, newest first", {200: _answer("A page", list_schema, "Link")}, 422, query=ListQuery),
            "post": _submission("Submit a job of any type", _content(_ref("Envelope")), job),
        },
        **{f"/jobs/{job_type.name}": {"post": _typed(job_type, job)} for job_type in registry},
        "/jobs/stats": get("Count jobs by status and type", {200: _answer("The counts", stats_schema)}),
        "/jobs/progress": get("Watch many jobs", {200: stream}, 422, 503, query=FilterQuery),
        "/jobs/{id}": {
            **get("Read a job", poll, 404, params=["id"]),
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
        "/jobs/{id}/progress": get("Watch a job", {200: stream, 204: ended}, 404, 503, params=["id"]),
        "/jobs/{id}/logs": get(
            "Read a job's log", {200: _answer("Lines, oldest first", logs_schema)}, 404, 422,
            params=["id"], query=LogsQuery,
        ),
        "/jobs/{id}/result": get(
            "Read a job's result", {200: _answer("What the handler returned", {})}, 404, 409, 410, 422, params=["id"]
        ),
        "/jobs/{id}/files/{name}": get(
            "Download an output file", {200: file, 206: file}, 404, 416, 422, params=["id", "name"], query=FileQuery
        ),
        "/job-types": get("List job types", {200: _answer("The types", {"type": "object"})}),
        "/healthz": get("Liveness", {200: _answer("The process answers", {"type": "object"})}),
        "/readyz": get("Readiness", {200: _answer("The server takes work", {"type": "object"})}, 503),
    }  # fmt: skip


def _operation(
    method: str,
    summary: str,
    answers: Mapping[int, Schema],
    *problems: int,
    params: list[str] | None = None,
    query: type[BaseModel] | None = None,
) -> Schema:
    parameters = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in params or ()]
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


def _typed(job_type: JobType, job: Schema) -> Schema:
    """`POST /jobs/{type}` for one type: its own schema, as JSON or as a form with its files."""
    schema = job_type.input_schema
    if not job_type.uploads:
        content = _content(schema)
    else:
        properties = dict(schema.get("properties", {}))
        parts = {name: properties.pop(name) for name in job_type.uploads}
        required = set(schema.get("required", ()))
        rest = {**schema, "properties": properties, "required": sorted(required - parts.keys())}
        form = _object(**parts, input=rest) | {"required": sorted(required & parts.keys())}
        content = {
            "multipart/form-data": {
                "schema": form,
                "encoding": {"input": {"contentType": "application/json"}},
            }
        }
    return _submission(job_type.title, content, job, job_type.description, SubmitOptions)


def _submission(
    summary: str, content: Schema, job: Schema, description: str = "", options: type[BaseModel] | None = None
) -> Schema:
    answers = {202: _answer("Accepted, durably", job, "Location", "Retry-After")}
    return {
        "summary": summary,
        "description": description,
        "parameters": _query_parameters(options),
        "requestBody": {"content": content},
        "responses": _responses(answers, 400, 404, 413, 415, 422, 503),
    }


def _responses(answers: Mapping[int, Schema], *problems: int) -> Schema:
    responses = {str(status): answer for status, answer in answers.items()}
    for status in problems:
        kinds = ", ".join(kind for kind, (of_kind, _) in KINDS.items() if of_kind == status)
        responses[str(status)] = {
            "description": kinds,
            "content": {"application/problem+json": {"schema": _ref("Problem")}},
        }
    return responses


def _answer(description: str, schema: Schema, *headers: str) -> Schema:
    answer: Schema = {"description": description, "content": _content(schema)}
    if headers:
        answer["headers"] = {name: {"schema": {"type": "string"}} for name in headers}
    return answer


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
