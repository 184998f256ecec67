"""The whole document: all operations, the models, the job types, and the limits in effect."""

import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from aiohttp import web
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from pydantic_core import to_json

from ...authoring.job_types import Registry
from ...domain.idempotency import KEPT
from ...domain.uploads import KEPT as UPLOAD_KEPT
from ...domain.uploads import MOST_PER_OWNER
from ...domain.urls import MAX_URL_CHARS
from ...ports.actions import MOST_ACTIVE
from ...representation import AttemptView, JobDetail, JobView, LogLineView
from ...service.options import (
    MAX_LABEL_CHARS,
    MAX_METADATA,
    MAX_METADATA_NAME_CHARS,
    MAX_METADATA_VALUE_CHARS,
    JobPatch,
    RetryChanges,
)
from ...settings import Settings
from ..connections import stalled_bodies
from ..connections.arriving_bodies import MAX_UPLOADS
from ..endpoints.actions import MAX_IDS, ActionBody
from ..endpoints.jobs import MAX_WAIT_S
from ..endpoints.lists import UsageView
from ..endpoints.sdks.azure import StatusMonitor
from ..endpoints.sessions import SessionView, SignIn
from ..endpoints.tickets import TicketOrder, TicketView
from ..endpoints.webhooks.deliveries import DeliveryView
from ..endpoints.webhooks.secrets import RevealedSecretView, Rotation, SecretView, TestOrder, TestView
from ..endpoints.work.claims import AssignmentView
from ..endpoints.work.ends import Completion, EndView, Failure
from ..endpoints.work.leases import LeaseView
from ..endpoints.work.reports import LogReport, ProgressReport
from ..identity.gate import GATE, TICKET_PATHS
from ..problems import KINDS
from ..requests import batches, strict_json
from ..requests.envelope import Envelope
from ..requests.idempotency import MAX_KEY_CHARS
from ..requests.multipart import MAX_PARTS
from ..responses.json import PRIVATE
from ..responses.representations import representation
from ..streams.lookup import FILTERS_PER_OWNER
from . import (
    access,
    examples,
    jobs,
    outputs,
    resources,
    sdks,
    service,
    streams,
    submissions,
    uploads,
    webhooks,
    work,
)
from .operation import REF, Operations, Schema
from .parameters import REQUEST_HEADERS, RESPONSE_HEADERS

ABOUT = """
Long-running work with live progress: submit a job, get a 202 immediately, then poll it, watch it, cancel it, and read
its result.

- Instants are RFC 3339 in UTC with milliseconds; durations are seconds.
- Every error is `application/problem+json` (RFC 9457), including unknown paths (404) and methods (405).
- `HEAD` is supported wherever `GET` is, and `OPTIONS` everywhere: its `Allow` lists the methods.
- A query parameter that takes several values is repeated, or its values are separated by commas.
- `x-limits` lists the limits in effect; requests beyond them are rejected.
- Fields, parameters, paths and types of problems may be added at any time. Nothing is removed or changes its meaning
  but in a new major version, and what is to go announces that for six months, with `Deprecation` (RFC 9745) and
  `Sunset` (RFC 8594) in its responses, and `deprecated` here. Nothing is deprecated now.
""".strip()

OUTPUTS: tuple[type[BaseModel], ...] = (
    *(JobView, JobDetail, LogLineView, AttemptView, StatusMonitor),
    *(DeliveryView, SessionView, TicketView, UsageView),
    *(SecretView, RevealedSecretView, TestView),
    *(AssignmentView, LeaseView, EndView),
)
WORK = (ProgressReport, LogReport, Completion, Failure)
INPUTS: tuple[type[BaseModel], ...] = (
    *(Envelope, ActionBody, RetryChanges, JobPatch, SignIn, TicketOrder, Rotation, TestOrder),
    *WORK,
)


class Description:
    """The document for a server with these job types and settings, created at the first request."""

    def __init__(self, registry: Registry, settings: Settings) -> None:
        self._registry = registry
        self._settings = settings
        self._encoded: bytes | None = None
        registry.when_changed(self._forget)

    def _forget(self) -> None:
        self._encoded = None

    def encoded(self, session_cookie: str) -> bytes:
        """The document as JSON text, for a server whose sessions have a cookie of this name."""
        if self._encoded is None:
            self._encoded = to_json(self.document(session_cookie))
        return self._encoded

    @property
    def operations(self) -> Operations:
        """Every operation; the route `POST /jobs/{id}` has one for each job type."""
        return {
            **submissions.operations(self._registry),
            **jobs.OPERATIONS,
            **streams.OPERATIONS,
            **outputs.OPERATIONS,
            **resources.operations(self._registry),
            **uploads.OPERATIONS,
            **webhooks.OPERATIONS,
            **work.OPERATIONS,
            **sdks.OPERATIONS,
            **access.OPERATIONS,
            **service.OPERATIONS,
        }

    def document(self, session_cookie: str = "headway") -> Schema:
        paths: dict[str, Schema] = {}
        for (method, path), operation in self.operations.items():
            paths.setdefault(path, {})[method.lower()] = operation.described(method, path)
            if method == "GET" and path in TICKET_PATHS:
                paths[path]["get"]["security"] = access.SECURITY_WITH_TICKETS
        headers = {name: {**header, "required": True} for name, header in RESPONSE_HEADERS.items()}
        return {
            "openapi": "3.1.0",
            "info": {
                "title": "Headway",
                "version": _version(),
                "description": ABOUT,
                "contact": {"name": "The operator of this server"},
                "license": {"name": "MIT", "identifier": "MIT"},
            },
            "servers": [{"url": self._settings.public_url or "/"}],
            "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
            "paths": paths,
            "webhooks": webhooks.webhooks(),
            "security": access.SECURITY,
            "components": {
                "securitySchemes": access.security_schemes(session_cookie),
                "schemas": {
                    **_schemas(),
                    **submissions.definitions(self._registry),
                    **resources.definitions(self._registry),
                },
                "parameters": {
                    name: {"name": name, "in": "header", **header} for name, header in REQUEST_HEADERS.items()
                },
                "headers": _used("headers", headers, paths),
                "examples": _used("examples", examples.components() | work.components(), paths),
            },
            "x-limits": _limits(self._settings),
        }


def _used(kind: str, components: Schema, paths: Schema) -> Schema:
    """Those that an operation refers to."""
    named = {name.decode() for name in re.findall(rb'"#/components/%s/([^"]+)"' % kind.encode(), to_json(paths))}
    return {name: value for name, value in components.items() if name in named}


TAGS: Mapping[str, str] = {
    "submit": "Submit jobs.",
    "jobs": "Read, list, edit, cancel, retry and delete jobs.",
    "streams": "Watch changes as server-sent events.",
    "outputs": "Results and files.",
    "uploads": "Send a large file in parts, and go on where the connection was lost; tus 1.0.",
    "webhooks": "The requests that receivers get, their deliveries, and the secrets that sign them.",
    "work": "Workers in any language do the jobs of types without a handler.",
    "resources": "Job types with paths of their own.",
    "sdks": "Jobs in the formats of Azure's and Google's SDKs.",
    "access": "Sign in with an API key, and share a job with a ticket.",
    "service": "The server itself.",
}

DESCRIPTION = web.AppKey("description", Description)


async def openapi(request: web.Request) -> web.Response:
    """`GET /openapi.json`"""
    return await representation(request, request.app[DESCRIPTION].encoded(request.app[GATE].cookie), PRIVATE)


def _version() -> str:
    try:
        return version("headway")
    except PackageNotFoundError:  # a checkout that is not installed
        return "0"


def _limits(settings: Settings) -> dict[str, Any]:
    return {
        "maxBodyBytes": settings.max_body_bytes,
        "maxBatchBytes": batches.MAX_BYTES,
        "maxBatchJobs": batches.MAX_JOBS,
        "maxActionIds": MAX_IDS,
        "maxActiveActionsPerOwner": MOST_ACTIVE,
        "maxUploadBytes": settings.max_upload_bytes,
        "headTimeoutSeconds": settings.head_timeout_s,
        "keepAliveSeconds": settings.keep_alive_s,
        "bodyTimeoutSeconds": settings.body_timeout_s,
        "bodyMinBytesPerSecond": stalled_bodies.MIN_BYTES_PER_S,
        "minFreeBytes": settings.min_free_bytes,
        "maxJsonDepth": strict_json.MAX_DEPTH,
        "maxParts": MAX_PARTS,
        "maxLabelChars": MAX_LABEL_CHARS,
        "maxMetadata": MAX_METADATA,
        "maxMetadataNameChars": MAX_METADATA_NAME_CHARS,
        "maxMetadataValueChars": MAX_METADATA_VALUE_CHARS,
        "maxWebhookUrlChars": MAX_URL_CHARS,
        "maxIdempotencyKeyChars": MAX_KEY_CHARS,
        "idempotencySeconds": int(KEPT.total_seconds()),
        "maxQueued": settings.max_queued,
        "maxQueuedPerOwner": settings.max_queued_per_owner,
        "submissionsPerMinute": settings.submissions_per_minute,
        "listsPerMinute": settings.lists_per_minute,
        "failedSignInsPerMinute": settings.failed_sign_ins_per_minute,
        "maxTasks": settings.max_tasks,
        "maxProcesses": settings.max_processes,
        "retainSeconds": settings.retain_s,
        "heartbeatSeconds": settings.heartbeat_s,
        "maxConnections": settings.max_connections,
        "maxWaits": settings.max_waits,
        "maxWaitsPerClient": settings.max_waits_per_client,
        "maxWaitsPerOwner": settings.max_waits_per_owner,
        "maxUploadsPerOwner": MAX_UPLOADS,
        "maxKeptUploadsPerOwner": MOST_PER_OWNER,
        "uploadKeptSeconds": int(UPLOAD_KEPT.total_seconds()),
        "maxStreams": settings.max_streams,
        "maxStreamsPerClient": settings.max_streams_per_client,
        "maxStreamsPerOwner": settings.max_streams_per_owner,
        "maxFiltersPerOwner": FILTERS_PER_OWNER,
        "streamStallTimeoutSeconds": settings.stream_stall_timeout_s,
        "maxWaitSeconds": MAX_WAIT_S,
    }


def _schemas() -> Schema:
    _, shown = models_json_schema([(model, "serialization") for model in OUTPUTS], ref_template=REF)
    _, entered = models_json_schema([(model, "validation") for model in INPUTS], ref_template=REF)
    return {**shown["$defs"], **entered["$defs"], "Problem": PROBLEM_SCHEMA}


PROBLEM_SCHEMA: Schema = {
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
        "error": {"type": "object", "description": "The same error in the format of another SDK."},
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
