"""The service: job types, health, this document, the page."""

from ..endpoints.lists import UsageQuery, UsageView
from ..requests.query import NoQuery
from .operation import Answer, Operation, Operations, Schema, array, closed_object, json_content, or_null, ref

TEXT: Schema = {"type": "string"}
ANY_SCHEMA: Schema = {"type": "object", "description": "JSON Schema"}

JOB_TYPE = closed_object(
    name=TEXT,
    title=TEXT,
    description=TEXT,
    path=or_null("string"),
    inputSchema=ANY_SCHEMA,
    outputSchema=ANY_SCHEMA,
    uploads=array(TEXT),
    limits=closed_object(
        maxAttempts={"type": "integer"},
        timeoutSeconds=or_null("number"),
        concurrency=or_null("integer"),
        retainSeconds=or_null("number"),
        memoryMib=or_null("number"),
        cpuSeconds=or_null("number"),
        maxOutputMib=or_null("number"),
        maxPids=or_null("integer"),
    ),
    available={"type": "boolean"},
    unavailableReason=or_null("string"),
)

PART_OF_THE_PAGE = Answer(
    description="A part of the page",
    content={"text/html": {"schema": TEXT}, "*/*": {"schema": {}}},
    headers=("ETag", "Last-Modified"),
)

OPERATIONS: Operations = {
    ("GET", "/job-types"): Operation(
        id="listJobTypes",
        tag="service",
        summary="List job types",
        query=NoQuery,
        answers={
            200: Answer(description="The types", content=json_content(closed_object(jobTypes=array(JOB_TYPE)))),
        },
    ),
    ("GET", "/usage"): Operation(
        id="readUsage",
        tag="service",
        summary="Show quotas, and how full they are",
        description=(
            "What the owner of the request's key keeps, queues and runs, what was submitted with the key itself, and "
            "the limits of both."
        ),
        query=UsageQuery,
        answers={200: Answer(description="The figures", content=json_content(ref(UsageView)))},
        problems=("forbidden",),
    ),
    ("GET", "/healthz"): Operation(
        id="isAlive",
        tag="service",
        summary="Liveness",
        answers={
            200: Answer(description="The process responds", content=json_content(closed_object(status={"const": "ok"})))
        },
    ),
    ("GET", "/readyz"): Operation(
        id="isReady",
        tag="service",
        summary="Readiness",
        answers={
            200: Answer(
                description="The server accepts work", content=json_content(closed_object(status={"const": "ready"}))
            )
        },
        problems=("stopping", "store-unavailable", "not-ready"),
        problem_headers={503: ("Retry-After",)},
    ),
    ("GET", "/metrics"): Operation(
        id="readMetrics",
        tag="service",
        summary="Metrics for Prometheus",
        description=(
            "In the text format of Prometheus, or as OpenMetrics if the client accepts that. The metrics cover "
            "all owners, so where keys are required, an admin's key is needed."
        ),
        answers={
            200: Answer(
                description="The metrics",
                content={"text/plain": {"schema": TEXT}, "application/openmetrics-text": {"schema": TEXT}},
            )
        },
        problems=("forbidden",),
    ),
    ("GET", "/openapi.json"): Operation(
        id="describe",
        tag="service",
        summary="This document",
        answers={200: Answer(description="OpenAPI 3.1", content=json_content({"type": "object"}))},
    ),
    ("GET", "/docs"): Operation(
        id="showDocs",
        tag="service",
        summary="This document as a page",
        answers={200: PART_OF_THE_PAGE},
    ),
    ("GET", "/"): Operation(
        id="showPage",
        tag="service",
        summary="The page",
        answers={200: PART_OF_THE_PAGE},
    ),
    ("GET", "/static/{path}"): Operation(
        id="showPart",
        tag="service",
        summary="A part of the page",
        answers={200: PART_OF_THE_PAGE},
        problems=("not-found",),
    ),
}
