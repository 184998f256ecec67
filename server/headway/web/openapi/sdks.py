"""Jobs in the formats of Azure's and Google's SDKs."""

from ...representation import JobView
from ..endpoints.sdks.azure import MonitorQuery, StatusMonitor
from ..endpoints.sdks.google import STRUCT, OperationsQuery
from ..requests.query import NoQuery
from . import examples
from .operation import (
    Operation,
    Operations,
    Schema,
    answered,
    array,
    closed_object,
    ref,
)

OPERATION: Schema = {
    "type": "object",
    "description": "google.longrunning.Operation",
    "properties": {
        "name": {"type": "string", "pattern": "^jobs/operations/"},
        "done": {"type": "boolean"},
        "metadata": closed_object(**{"@type": {"const": STRUCT}, "value": ref(JobView)}),
        "response": closed_object(
            **{
                "@type": {"const": STRUCT},
                "value": {
                    "type": "object",
                    "properties": {
                        "resultUrl": {"type": "string"},
                        "result": {"description": "What the handler returned, up to 64 KiB; not in lists."},
                    },
                    "required": ["resultUrl"],
                    "additionalProperties": False,
                },
            }
        ),
        "error": closed_object(code={"type": "integer"}, message={"type": "string"}),
    },
    "required": ["name", "metadata", "done"],
    "additionalProperties": False,
}
NEVER_422 = ("malformed-request",)
"""Google's clients get a 400 for an invalid query."""
NOTHING = answered("Done", closed_object(), examples.NOTHING)

OPERATIONS: Operations = {
    ("GET", "/operations/{id}"): Operation(
        id="readStatusMonitor",
        tag="sdks",
        summary="Read a job in the format of Azure's SDKs",
        description="Always 200, with the state in `status`. Submissions return this URL in `Operation-Location`.",
        query=MonitorQuery,
        conditional=True,
        answers={
            200: answered(
                "The job as a status monitor", ref(StatusMonitor), examples.MONITOR, sometimes=("Retry-After",)
            )
        },
        problems=("not-found", "store-unavailable"),
    ),
    ("GET", "/v1/jobs/operations"): Operation(
        id="listOperations",
        tag="sdks",
        query_problems=NEVER_422,
        summary="List jobs as Google's SDKs do",
        description="`Operations.ListOperations` of `google.longrunning`, as REST has it.",
        query=OperationsQuery,
        conditional=True,
        answers={
            200: answered(
                "A page, newest first",
                closed_object(operations=array(OPERATION), nextPageToken={"type": "string"}),
                examples.OPERATIONS,
            )
        },
        problems=("store-unavailable",),
    ),
    ("GET", "/v1/jobs/operations/{id}"): Operation(
        id="readOperation",
        tag="sdks",
        query_problems=NEVER_422,
        summary="Read a job as Google's SDKs poll it",
        description="`Operations.GetOperation`: `done` once it has ended, then with `response` or `error`.",
        query=NoQuery,
        conditional=True,
        answers={200: answered("The job as an operation", OPERATION, examples.OPERATION)},
        problems=("not-found", "store-unavailable"),
    ),
    ("DELETE", "/v1/jobs/operations/{id}"): Operation(
        id="deleteOperation",
        tag="sdks",
        query_problems=NEVER_422,
        summary="Delete a job that has ended, as Google's SDKs do",
        description="Record, log and files. It does not cancel: one that has not ended is a 409.",
        query=NoQuery,
        answers={200: NOTHING},
        problems=("not-found", "conflict", "store-unavailable"),
    ),
    ("POST", "/v1/jobs/operations/{id}:cancel"): Operation(
        id="cancelOperation",
        tag="sdks",
        query_problems=NEVER_422,
        summary="Cancel a job as Google's SDKs do",
        description="Recorded durably, not awaited; a job that has ended stays as it is.",
        query=NoQuery,
        answers={200: NOTHING},
        problems=("not-found", "store-unavailable"),
    ),
}
