"""`GET /job-types`."""

from dataclasses import asdict
from typing import Any

from aiohttp import web
from pydantic_core import to_json

from ...authoring.job_types import ChangingRegistry, JobType
from ..parts import parts
from ..requests.query import NoQuery, query
from ..responses.json import NOT_KEPT, PRIVATE, json_response
from ..responses.representations import representation


async def job_types(request: web.Request) -> web.Response:
    """`GET /job-types`"""
    query(request, NoQuery)
    body = to_json({"jobTypes": [type_fields(job_type) for job_type in parts(request).registry]})
    return await representation(request, body, PRIVATE)


async def reload(request: web.Request) -> web.Response:
    """`GET /job-types/reload` of `headway dev`: a version of the types, and why changed files cannot be loaded."""
    query(request, NoQuery)
    registry = parts(request).registry
    assert isinstance(registry, ChangingRegistry)  # noqa: S101 - otherwise there is no such route
    failure = None if registry.failure is None else asdict(registry.failure)
    return json_response(to_json({"version": registry.version, "failure": failure}), headers=NOT_KEPT)


def type_fields(job_type: JobType) -> dict[str, Any]:
    reason = job_type.unavailable()
    return {
        "name": job_type.name,
        "title": job_type.title,
        "description": job_type.description,
        "path": None if job_type.resource is None else job_type.resource.path,
        "inputSchema": job_type.input_schema,
        "outputSchema": job_type.output_schema,
        "uploads": list(job_type.uploads),
        "limits": {
            "maxAttempts": job_type.max_attempts,
            "timeoutSeconds": job_type.timeout_s,
            "concurrency": job_type.concurrency,
            "retainSeconds": job_type.retain_s,
            "memoryMib": job_type.limits.memory_mib,
            "cpuSeconds": job_type.limits.cpu_s,
            "maxOutputMib": job_type.limits.max_output_mib,
            "maxPids": job_type.limits.max_pids,
        },
        "available": reason is None,
        "unavailableReason": reason,
    }
