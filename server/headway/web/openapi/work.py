"""What workers elsewhere call: they claim jobs, report, read uploads, and end their attempts."""

from datetime import timedelta
from typing import Any

from ...representation import instant
from ..endpoints.work.claims import AssignmentView, ClaimQuery
from ..endpoints.work.ends import Completion, EndView, Failure
from ..endpoints.work.leases import LEASE, LeaseView
from ..endpoints.work.reports import LogReport, ProgressReport
from ..requests.query import NoQuery
from .examples import AT, BROKEN, ID, INPUT, Example
from .operation import RATE_HEADERS, Answer, Operation, Operations, Schema, answered, any_file, json_content, ref

_UNTIL = instant(AT + timedelta(seconds=60))
ASSIGNMENT = Example(
    "assignment",
    "The second attempt of a job",
    {
        "lease": "hwl_not-a-lease-but-an-example",
        "leaseSeconds": 60.0,
        "leaseExpiresAt": _UNTIL,
        "jobId": ID,
        "type": "count-words",
        "owner": "ann",
        "attempt": 2,
        "timeoutSeconds": None,
        "uploads": [
            {
                "field": "scan",
                "filename": "report.pdf",
                "contentType": "application/pdf",
                "sizeBytes": 4_812_331,
                "url": "/work/count-words/inputs/scan",
            }
        ],
        "input": INPUT,
        "checkpoint": {"page": 180},
    },
)
GO_ON = Example("go-on", "Go on", {"leaseExpiresAt": _UNTIL, "cancel": False, "reason": None})
STOP = Example("stop", "Stop", {"leaseExpiresAt": _UNTIL, "cancel": True, "reason": "cancel"})
PROGRESS = Example("progress-report", "Page 181 of 400", {"done": 181, "total": 400, "unit": "pages"})
LINES = Example("log-report", "A line", {"lines": [{"message": "Page 181 is blank", "level": "warning"}]})
CHECKPOINT = Example("checkpoint-report", "What the next attempt needs to go on", {"page": 181})
COMPLETION = Example("completion", "Done", {"result": {"pages": 400, "words": 131_072}})
FAILURE = Example(
    "failure", "A failure that no retry would fix", {"title": BROKEN.title, "status": 422, "retry": False}
)
ENDED = Example("end", "Recorded", {"jobId": ID, "attempt": 2, "status": "completed", "error": None})

EXAMPLES = (ASSIGNMENT, GO_ON, STOP, PROGRESS, LINES, CHECKPOINT, COMPLETION, FAILURE, ENDED)

_BODY_PROBLEMS = ("body-timeout", "too-large", "unsupported-media-type")
_STATE = {200: answered("How the lease stands", ref(LeaseView), GO_ON, STOP)}
_ENDED = {200: answered("The end is durable", ref(EndView), ENDED)}


def _report(id: str, summary: str, content: dict[str, Schema], description: str = "", **more: Any) -> Operation:
    """An operation with a lease. Its body and its answer are JSON."""
    fields: dict[str, Any] = {"answers": _STATE, "problems": ("not-found", "lease-lost", *_BODY_PROBLEMS)}
    return Operation(
        id=id,
        tag="work",
        summary=summary,
        description=description,
        query=NoQuery,
        headers=(LEASE,),
        content=content,
        **fields | more,
    )


OPERATIONS: Operations = {
    ("POST", "/work/{type}/claim"): Operation(
        id="claimJob",
        tag="work",
        summary="Claim a job",
        description="The response is a lease. It is kept by any request that names it in `Headway-Lease`, and the "
        "attempt is lost when there is none for `leaseSeconds`. The API key needs the right to work on the type; then "
        "the jobs of all owners are claimed, in turns.",
        query=ClaimQuery,
        answers={
            200: answered("A job", ref(AssignmentView), ASSIGNMENT, sometimes=RATE_HEADERS),
            204: Answer(description="There is no job now", sometimes=RATE_HEADERS),
        },
        problems=("not-found", "too-many-waits", "stopping"),
    ),
    ("POST", "/work/{type}/progress"): _report(
        "reportProgress",
        "Report progress",
        json_content(ref(ProgressReport), PROGRESS),
        "What is left out stays as it was; without a body it only keeps the lease.",
    ),
    ("POST", "/work/{type}/logs"): _report(
        "addLogLines",
        "Add lines to the job's log",
        {**json_content(ref(LogReport), LINES), "text/plain": {"schema": {"type": "string"}}},
        "At most 1,000. In plain text each line that is not blank is one, of the level `info`; it ends with LF, CR LF "
        "or CR.",
    ),
    ("POST", "/work/{type}/checkpoint"): _report(
        "setCheckpoint",
        "Record a checkpoint",
        json_content({"description": "Any JSON, at most 1 MiB"}, CHECKPOINT),
        "Durable when the response comes. The next attempt's claim has it as `checkpoint`.",
        problems=("not-found", "lease-lost", *_BODY_PROBLEMS, "store-unavailable"),
    ),
    ("POST", "/work/{type}/complete"): _report(
        "completeJob",
        "Complete the job",
        json_content(ref(Completion), COMPLETION),
        "The result is validated: if it is not what the type declares, the job has failed as `invalid-output`. A "
        "result of more than `maxBodyBytes` belongs into an output file. May be repeated if the response is lost.",
        answers=_ENDED,
    ),
    ("POST", "/work/{type}/fail"): _report(
        "failJob",
        "Report a failure",
        json_content(ref(Failure), FAILURE),
        "With `retry` there is another attempt after a while, if the job has one left. May be repeated if the response "
        "is lost.",
        answers=_ENDED,
    ),
    ("PUT", "/work/{type}/files/{name}"): _report(
        "writeOutput",
        "Add an output file",
        any_file("The file, of any media type."),
        "Clients can download it once the job has completed. It replaces a file of the same name.",
        problems=("not-found", "lease-lost", *_BODY_PROBLEMS, "disk-full", "store-unavailable"),
    ),
    ("GET", "/work/{type}/inputs/{field}"): Operation(
        id="readInput",
        tag="work",
        summary="Download an upload of the job",
        description="While the lease holds. Like a file of a job's, it can be read in ranges.",
        query=NoQuery,
        headers=(LEASE, "Range", "If-Range"),
        answers={
            200: Answer(
                description="The file",
                content={"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
                headers=("Accept-Ranges", "Content-Disposition", "ETag", "Last-Modified"),
            ),
            206: Answer(
                description="A part of the file; several as `multipart/byteranges`",
                content={"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
                headers=("Accept-Ranges", "Content-Disposition", "ETag", "Last-Modified"),
                sometimes=("Content-Range",),
            ),
        },
        problems=("forbidden", "not-found", "lease-lost", "range-not-satisfiable", "store-unavailable"),
        problem_headers={416: ("Content-Range",)},
    ),
}


def components() -> dict[str, Any]:
    """The examples, as `components` has them."""
    return {each.name: {"summary": each.summary, "value": each.value} for each in EXAMPLES}
