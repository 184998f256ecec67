"""Jobs: read, list, count, cancel, retry and delete them."""

from ...representation import AttemptView, JobDetail, JobView, LogLineView
from ..endpoints.history import AttemptsQuery, LogsQuery
from ..endpoints.jobs import JobQuery, PurgeQuery
from ..requests.filters import ListQuery
from ..requests.query import NoQuery
from .operation import (
    RATE_HEADERS,
    Answer,
    Operation,
    Operations,
    Schema,
    array,
    closed_object,
    json_content,
    link,
    or_null,
    ref,
)

JOB_LINKS = {
    "read": link("readJob", "Poll the job", id="$response.body#/jobId"),
    "watch": link("watchJob", "Watch the job", id="$response.body#/jobId"),
    "logs": link("readLogs", "Read its log", id="$response.body#/jobId"),
    "attempts": link("listAttempts", "List its attempts", id="$response.body#/jobId"),
    "result": link("readResult", "Read its result", id="$response.body#/jobId"),
    "deliveries": link("listDeliveries", "List the deliveries of its webhook", id="$response.body#/jobId"),
    "cancel": link("deleteJob", "Cancel the job", id="$response.body#/jobId"),
    "retry": link("retryJob", "Retry it, if it failed", id="$response.body#/jobId"),
    "deleteResult": link("deleteResult", "Delete its result", id="$response.body#/jobId"),
}
"""The links from a job's representation."""

ACCEPTED = Answer(
    description="Accepted and durable: from now on the job survives a crash",
    content=json_content(ref(JobView)),
    headers=("Location", "Operation-Location", "Retry-After"),
    sometimes=("Idempotency-Replayed", *RATE_HEADERS),
    links=JOB_LINKS,
)
FINISHED = Answer(
    description="With `Prefer: wait`: the job ended within that time",
    content=json_content(ref(JobDetail)),
    headers=("Location", "Operation-Location", "Content-Location", "ETag", "Preference-Applied"),
    sometimes=("Idempotency-Replayed", *RATE_HEADERS),
    links=JOB_LINKS,
)
SUBMISSION_HEADERS = ("Idempotency-Key", "Prefer")
KEY_PROBLEMS = ("malformed-request", "idempotency-key-reused", "gone")

COUNTS: Schema = {"type": "object", "additionalProperties": {"type": "integer"}}

OPERATIONS: Operations = {
    ("GET", "/jobs"): Operation(
        id="listJobs",
        tag="jobs",
        summary="List jobs",
        description="Newest first, in pages: the `nextCursor` of one page is the `cursor` of the next.",
        query=ListQuery,
        problems=("store-unavailable",),
        answers={
            200: Answer(
                description="A page",
                content=json_content(closed_object(jobs=array(ref(JobView)), nextCursor=or_null("string"))),
                sometimes=("Link",),
                links={"next": link("listJobs", "The next page", cursor="$response.body#/nextCursor")},
            )
        },
    ),
    ("GET", "/jobs/stats"): Operation(
        id="countJobs",
        tag="jobs",
        summary="Count jobs by status and type",
        query=NoQuery,
        answers={
            200: Answer(
                description="The counts",
                content=json_content(
                    closed_object(
                        total={"type": "integer"},
                        byStatus=COUNTS,
                        byType={"type": "object", "additionalProperties": COUNTS},
                    )
                ),
            )
        },
    ),
    ("GET", "/jobs/{id}"): Operation(
        id="readJob",
        tag="jobs",
        summary="Read a job, or wait for it",
        description=(
            "202 while the job is in progress, 200 once it has ended, failed jobs included. "
            "With `wait` it is a long poll; the server answers it early only when it stops."
        ),
        query=JobQuery,
        headers=("If-None-Match", "Prefer"),
        answers={
            200: Answer(
                description="The job has ended", content=json_content(ref(JobDetail)), headers=("ETag",),
                sometimes=("Preference-Applied",), links=JOB_LINKS,
            ),
            202: Answer(
                description="The job is in progress", content=json_content(ref(JobDetail)),
                headers=("ETag", "Retry-After"), sometimes=("Preference-Applied",), links=JOB_LINKS,
            ),
            303: Answer(
                description="With `redirect`: the URL of the job's result", headers=("Location",),
                sometimes=("Preference-Applied",),
            ),
            304: Answer(
                description="The job has not changed", headers=("ETag",),
                sometimes=("Retry-After", "Preference-Applied"),
            ),
        },
        problems=("not-found", "too-many-waits", "store-unavailable"),
    ),
    ("DELETE", "/jobs/{id}"): Operation(
        id="deleteJob",
        tag="jobs",
        summary="Cancel a job, or with `purge` delete it",
        description=(
            "The request is made durable first. If a cancel is recorded before the job's end, the job is cancelled, "
            "whatever its handler returns."
        ),
        query=PurgeQuery,
        answers={
            202: Answer(
                description="Recorded; the job is still stopping",
                content=json_content(ref(JobView)),
                headers=("Location", "Retry-After"),
                links={"read": JOB_LINKS["read"]},
            ),
            204: Answer(description="The job is cancelled or deleted"),
        },
        problems=("not-found", "conflict", "store-unavailable"),
    ),
    ("POST", "/jobs/{id}/retry"): Operation(
        id="retryJob",
        tag="jobs",
        summary="Retry a failed or cancelled job as a new job",
        description="With the same inputs, uploads included; the new job's `retryOf` names this one.",
        query=NoQuery,
        headers=SUBMISSION_HEADERS,
        answers={200: FINISHED, 202: ACCEPTED},
        problems=(
            *KEY_PROBLEMS, "not-found", "conflict", "queue-full", "quota-exceeded", "storage-quota-exceeded",
            "disk-full", "store-unavailable", "stopping",
            "job-type-unavailable",
        ),
    ),
    ("GET", "/jobs/{id}/logs"): Operation(
        id="readLogs",
        tag="jobs",
        summary="Read a job's log",
        query=LogsQuery,
        answers={
            200: Answer(
                description="The log lines, oldest first",
                content=json_content(closed_object(lines=array(ref(LogLineView)), nextAfter=or_null("integer"))),
            )
        },
        problems=("not-found", "store-unavailable"),
    ),
    ("GET", "/jobs/{id}/attempts"): Operation(
        id="listAttempts",
        tag="jobs",
        summary="List a job's attempts",
        description="What became of each, and what the processes of `def` handlers used.",
        query=AttemptsQuery,
        answers={
            200: Answer(
                description="The attempts, oldest first; one that runs is the last",
                content=json_content(closed_object(attempts=array(ref(AttemptView)), nextAfter=or_null("integer"))),
            )
        },
        problems=("not-found", "store-unavailable"),
    ),
}  # fmt: skip
