"""Examples for the document. Those of jobs are made as responses are, so that they cannot be out of date."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from ...domain.attempts import AttemptOutcome, PastAttempt, Usage
from ...domain.deliveries import Delivery, DeliveryStatus, WebhookEvent
from ...domain.jobs import Job, JobError, LogLine, OutputFile, Status
from ...domain.progress import Progress
from ...links import Links
from ...ports.actions import ACTION_TYPE
from ...representation import attempt_fields, instant, job_fields, log_line_fields
from ..endpoints.sdks.azure import monitor_fields
from ..endpoints.sdks.google import STRUCT
from ..endpoints.webhooks.deliveries import delivery_fields
from ..problems import KINDS

AT = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
DAY = timedelta(days=1)
LINKS = Links("")
ID, DELIVERY_ID = "019aa0b5-3c40-7000-8b1e-5d2f3c9a7e10", "019aa0b5-5d20-7000-9c3d-1f6a8e0b4d27"
INPUT = {"pages": 400}
RESULT = {"pages": 400, "words": 131_072}
BROKEN = JobError("job-failed", "Page 181 cannot be read", "Scan it again, then retry the job.", 422)


class Example(NamedTuple):
    """A value in the document, under `components`. `name` is unique."""

    name: str
    summary: str
    value: Any


_QUEUED = Job(
    updated_at=AT, progress=Progress(), version=1, id=ID, owner="ann", type="count-words", created_at=AT, run_at=AT,
    retain_s=7 * DAY.total_seconds(), label="Annual report",
)  # fmt: skip
_RUNNING = _QUEUED._replace(
    status=Status.RUNNING,
    started_at=AT + timedelta(seconds=1),
    updated_at=AT + timedelta(seconds=19),
    progress=Progress(45.2, 181, 400, "pages", "Page 181", None, 10.1, 22),
    attempt=1,
    version=31,
)
_COMPLETED = _RUNNING._replace(
    status=Status.COMPLETED,
    updated_at=AT + timedelta(seconds=41),
    completed_at=AT + timedelta(seconds=41),
    expires_at=AT + timedelta(seconds=41) + 7 * DAY,
    progress=Progress(100.0, 400, 400, "pages", "131,072 words", None, None, 0),
    files=(OutputFile("words.csv", 48_211, "text/csv"),),
    files_total=1,
    result_bytes=len(json.dumps(RESULT)),
    version=64,
)
_FAILED = _COMPLETED._replace(
    status=Status.FAILED,
    progress=_RUNNING.progress._replace(eta_s=None, rate_per_second=None),
    files=(),
    files_total=0,
    result_bytes=None,
    error=BROKEN,
)
_CANCELLED = _FAILED._replace(status=Status.CANCELLED, cancel_requested=True, error=None)


def _of_job(name: str, summary: str, job: Job, queue_position: int | None = None) -> Example:
    return Example(name, summary, job_fields(job, queue_position, LINKS))


def _in_detail(name: str, summary: str, job: Job, result: Any = None) -> Example:
    return Example(name, summary, {**job_fields(job, None, LINKS), "input": INPUT, "result": result})


QUEUED = _of_job("queued", "Accepted, and waiting for its turn", _QUEUED, 1)
STOPPING = _of_job("stopping", "Told to stop, and still running", _RUNNING._replace(cancel_requested=True))
IN_PROGRESS = _in_detail("in-progress", "In progress", _RUNNING)
COMPLETED = _in_detail("completed", "Completed", _COMPLETED, RESULT)
FAILED = _in_detail("failed", "Failed", _FAILED)
CANCELLED = _in_detail("cancelled", "Cancelled", _CANCELLED)
JOBS = Example("jobs", "A page with two jobs", {"jobs": [QUEUED.value, STOPPING.value], "nextCursor": ID})
COUNTS = Example(
    "counts",
    "Three jobs",
    {
        "total": 3,
        "byStatus": {status.value: count for status, count in zip(Status, (1, 0, 2, 0, 0), strict=True)},
        "byType": {"count-words": {status.value: n for status, n in zip(Status, (1, 0, 2, 0, 0), strict=True)}},
    },
)
LOG = Example(
    "log",
    "The beginning of a log",
    {"lines": [log_line_fields(LogLine(2, AT + timedelta(seconds=1), "info", "400 pages"))], "nextAfter": None},
)
ATTEMPTS = Example(
    "attempts",
    "A failure, and the attempt after it",
    {
        "attempts": [
            attempt_fields(
                PastAttempt(1, AT, AT + timedelta(seconds=9), AttemptOutcome.RETRY, BROKEN, Usage(48_234_496, 8.4))
            ),
            attempt_fields(PastAttempt(2, AT + timedelta(seconds=20))),
        ],
        "nextAfter": None,
    },
)
RESULT_OF_JOB = Example("result", "What the handler returned", RESULT)
FILES = Example(
    "files",
    "The only page",
    {"files": QUEUED.value["files"] + COMPLETED.value["files"], "filesTotal": 1, "nextCursor": None},
)
STREAM = Example(
    "events",
    "The beginning of a stream",
    {"event": "message", "id": "31", "data": json.dumps(job_fields(_RUNNING, None, LINKS))},
)

ENVELOPE = Example(
    "envelope", "A job of any type", {"type": "count-words", "input": INPUT, "label": "Annual report", "priority": 5}
)
BARE_INPUT = Example("input", "The input, as the job's type defines it", INPUT)
RETRY = Example("retry", "The same, sooner, and with other pages", {"input": {"pages": 380}, "priority": 9})
PATCH = Example("patch", "Another label, one more name, one less", {"label": "2026", "metadata": {"a": "b", "c": None}})
EDITED = _of_job("edited", "After its first edit", _QUEUED._replace(label="2026", metadata=(("a", "b"),), edits=1), 1)
BATCH = Example("batch", "Two jobs", {"jobs": [ENVELOPE.value, {"type": "count-words", "input": {"pages": 2}}]})
OUTCOMES = Example(
    "outcomes",
    "One job accepted, one refused",
    {
        "accepted": 1,
        "refused": 1,
        "outcomes": [
            {"status": 202, "jobId": ID, "location": f"/jobs/{ID}", "retryAfterSeconds": None, "problem": None},
            {
                "status": 422,
                "jobId": None,
                "location": None,
                "retryAfterSeconds": None,
                "problem": {
                    "type": "/problems/validation-failed",
                    "title": KINDS["validation-failed"][1],
                    "status": 422,
                    "detail": None,
                    "instance": "/jobs/batch",
                    "errors": [{"pointer": "/jobs/1/input/pages", "detail": "is missing"}],
                },
            },
        ],
    },
)

ACTION = Example(
    "action",
    "Retry what has failed since yesterday",
    {"action": "retry", "filter": {"status": ["failed"], "createdAfter": instant(AT - DAY)}},
)
ACTION_BY_IDS = Example("action-by-ids", "Cancel two jobs", {"action": "cancel", "ids": [ID, DELIVERY_ID]})
_ACTION = _QUEUED._replace(type=ACTION_TYPE, label=None)
_ACTION_RESULT = {
    "action": "retry",
    "handled": 400,
    "outcomes": {"job-type-unavailable": 1, "retried": 399},
    "failed": 1,
    "failures": [
        {"jobId": DELIVERY_ID, "outcome": "job-type-unavailable", "detail": "The job type is not served any longer."}
    ],
}
ACTION_QUEUED = _of_job("action-queued", "Accepted", _ACTION, 1)
ACTION_COMPLETED = Example(
    "action-completed",
    "All jobs have been handled",
    {
        **job_fields(
            _COMPLETED._replace(
                type=ACTION_TYPE,
                label=None,
                progress=Progress(100.0, 400, None, "jobs", "1 job-type-unavailable, 399 retried", None, None, 0),
                files=(),
                files_total=0,
            ),
            None,
            LINKS,
        ),
        "input": ACTION.value,
        "result": _ACTION_RESULT,
    },
)

DELIVERY = Example(
    "delivery",
    "A delivery that will be tried again",
    delivery_fields(
        Delivery(
            DELIVERY_ID, ID, "ann", WebhookEvent.COMPLETED, "https://receiver.test/hook", "receiver.test",
            DeliveryStatus.PENDING, 1, 1, AT, AT + timedelta(minutes=5), AT, None, 503, "The receiver answered 503.",
        )
    ),
)  # fmt: skip
DELIVERIES = Example("deliveries", "One delivery", {"deliveries": [DELIVERY.value]})
ALL_DELIVERIES = Example("all-deliveries", "The only page", {"deliveries": [DELIVERY.value], "nextCursor": None})
_SECRET = {
    "fingerprint": "5f1c9e02b7d84a63",
    "createdAt": instant(AT),
    "expiresAt": None,
    "revealedAt": instant(AT + DAY),
}
SECRETS = Example("secrets", "One secret, which its owner has read", {"secrets": [_SECRET]})
REVEALED = Example(
    "secret", "The secret's text", {**_SECRET, "secret": "whsec_bm90IGEgc2VjcmV0LCBhbiBleGFtcGxlIG9ubHk="}
)
ROTATION = Example("rotation", "The old secret signs for another hour", {"overlapSeconds": 3600})
TEST = Example("webhook-test", "Where to send it", {"url": "https://receiver.test/hook"})
TESTED = Example(
    "tested",
    "It arrived",
    {
        "deliveryId": DELIVERY_ID,
        "url": "https://receiver.test/hook",
        "delivered": True,
        "status": 204,
        "error": None,
        "tookSeconds": 0.081,
    },
)

SIGN_IN = Example("sign-in", "A key", {"key": "hwk_not-a-key-but-an-example"})
SESSION = Example(
    "session",
    "Signed in",
    {"keyNeeded": True, "signedIn": True, "name": "laptop", "owner": "ann", "admin": False, "readOnly": False},
)
TICKET_ORDER = Example("ticket-order", "For ten minutes", {"expiresInSeconds": 600})
TICKET = Example(
    "ticket",
    "A ticket, and the stream's URL with it",
    {
        "ticket": "not-a-ticket-but-an-example",
        "expiresAt": instant(AT + timedelta(minutes=10)),
        "progressUrl": f"/jobs/{ID}/progress?ticket=not-a-ticket-but-an-example",
    },
)
JOB_TYPES = Example(
    "job-types",
    "One type",
    {
        "jobTypes": [
            {
                "name": "count-words",
                "title": "Count words",
                "description": "Counts the words of a scanned document.",
                "path": None,
                "inputSchema": {"type": "object", "properties": {"pages": {"type": "integer"}}},
                "outputSchema": {"type": "object"},
                "uploads": [],
                "limits": {
                    "maxAttempts": 1,
                    "timeoutSeconds": None,
                    "concurrency": 2,
                    "retainSeconds": None,
                    "memoryMib": 512,
                    "cpuSeconds": None,
                    "maxOutputMib": None,
                    "maxPids": None,
                },
                "available": True,
                "unavailableReason": None,
            }
        ]
    },
)
_ACCOUNT = {
    "jobs": {"used": 120, "limit": 10_000},
    "bytes": {"used": 73_400_320, "limit": None},
    "queued": {"used": 3, "limit": 500},
    "running": {"used": 2, "limit": None},
}
USAGE = Example("usage", "An owner, and one of their keys", {"owner": {"name": "ann", **_ACCOUNT}, "key": None})
ALIVE = Example("alive", "Alive", {"status": "ok"})
READY = Example("ready", "Ready", {"status": "ready"})
MONITOR = Example("monitor", "In progress", {**monitor_fields(_RUNNING, LINKS), "result": None})
_OPERATION = {
    "name": f"jobs/operations/{ID}",
    "metadata": {"@type": STRUCT, "value": job_fields(_RUNNING, None, LINKS)},
    "done": False,
}
OPERATION = Example("operation", "In progress", _OPERATION)
OPERATIONS = Example("operations", "The only page", {"operations": [_OPERATION], "nextPageToken": ""})
DOCUMENT = Example("document", "Its beginning", {"openapi": "3.1.0", "info": {"title": "Headway", "version": "1.0.0"}})
NOTHING = Example("nothing", "Nothing to say", {})


def problem(kind: str) -> Example:
    """A response with a problem of this kind."""
    status, title = KINDS[kind]
    fields: dict[str, Any] = {"type": f"/problems/{kind}", "title": title, "status": status, "detail": None}
    fields |= {"instance": f"/jobs/{ID}"}
    if kind == "validation-failed":
        fields |= {"detail": "Nothing was accepted.", "errors": [{"pointer": "/input/pages", "detail": "is missing"}]}
    return Example(f"problem-{kind}", title, fields)


def components() -> dict[str, Any]:
    """All examples, as `components` has them."""
    named = [each for each in globals().values() if isinstance(each, Example)]
    found = [*named, *map(problem, KINDS)]
    return {each.name: {"summary": each.summary, "value": each.value} for each in found}
