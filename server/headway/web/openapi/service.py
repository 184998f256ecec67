"""The service: job types, health, this document, the page."""

from ..endpoints.lists import UsageQuery, UsageView
from ..requests.query import NoQuery
from . import examples
from .operation import (
    Answer,
    Operation,
    Operations,
    Schema,
    answered,
    array,
    closed_object,
    or_null,
    ref,
)

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
        conditional=True,
        description="With the schemas of their inputs and outputs, their limits, and whether they can run now.",
        query=NoQuery,
        answers={
            200: answered("The types", closed_object(jobTypes=array(JOB_TYPE)), examples.JOB_TYPES),
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
        conditional=True,
        answers={200: answered("The figures", ref(UsageView), examples.USAGE)},
        problems=("forbidden",),
    ),
    ("GET", "/healthz"): Operation(
        id="isAlive",
        tag="service",
        summary="Liveness",
        description="200 while the process runs, whatever its state.",
        answers={200: answered("The process responds", closed_object(status={"const": "ok"}), examples.ALIVE)},
    ),
    ("GET", "/readyz"): Operation(
        id="isReady",
        tag="service",
        summary="Readiness",
        description="503 if something that the server needs does not work; `detail` says what.",
        answers={200: answered("The server accepts work", closed_object(status={"const": "ready"}), examples.READY)},
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
        conditional=True,
        description="OpenAPI 3.1, with the schemas of this server's own job types, and its limits in `x-limits`.",
        answers={200: answered("OpenAPI 3.1", {"type": "object"}, examples.DOCUMENT)},
    ),
    ("GET", "/docs"): Operation(
        id="showDocs",
        tag="service",
        summary="This document as a page",
        description="For people.",
        answers={200: PART_OF_THE_PAGE},
    ),
    ("GET", "/"): Operation(
        id="showPage",
        tag="service",
        summary="The page",
        description="A form for each job type, and progress bars.",
        answers={200: PART_OF_THE_PAGE},
    ),
    ("GET", "/static/{path}"): Operation(
        id="showPart",
        tag="service",
        summary="A part of the page",
        description="Scripts, styles and pictures.",
        answers={200: PART_OF_THE_PAGE},
        problems=("not-found",),
    ),
}
