"""Jobs: read, list, count, edit, cancel, retry and delete them."""

from ...representation import AttemptView, JobDetail, JobView, LogLineView
from ...service.options import JobPatch, RetryChanges
from ..endpoints.history import AttemptsQuery, LogsQuery
from ..endpoints.jobs import JobQuery, PurgeQuery
from ..requests.bodies import MERGE_PATCH_TYPE
from ..requests.filters import ListQuery
from ..requests.query import NoQuery
from . import examples
from .operation import (
    JSON,
    RATE_HEADERS,
    Answer,
    Operation,
    Operations,
    Schema,
    answered,
    array,
    closed_object,
    json_content,
    link,
    or_null,
    ref,
    shown,
)

JOB_LINKS = {
    "read": link("readJob", "Poll the job", id="$response.body#/jobId"),
    "watch": link("watchJob", "Watch the job", id="$response.body#/jobId"),
    "logs": link("readLogs", "Read its log", id="$response.body#/jobId"),
    "attempts": link("listAttempts", "List its attempts", id="$response.body#/jobId"),
    "result": link("readResult", "Read its result", id="$response.body#/jobId"),
    "deliveries": link("listDeliveries", "List the deliveries of its webhook", id="$response.body#/jobId"),
    "edit": link("editJob", "Change its label, priority, time, retention or metadata", id="$response.body#/jobId"),
    "cancel": link("deleteJob", "Cancel the job", id="$response.body#/jobId"),
    "retry": link("retryJob", "Repeat it, once it has ended", id="$response.body#/jobId"),
    "deleteResult": link("deleteResult", "Delete its result", id="$response.body#/jobId"),
}
"""The links from a job's representation."""

ACCEPTED = answered(
    "Accepted and durable: from now on the job survives a crash",
    ref(JobView),
    examples.QUEUED,
    headers=("Location", "Operation-Location", "Retry-After"),
    sometimes=("Idempotency-Replayed", *RATE_HEADERS),
    links=JOB_LINKS,
)
FINISHED = answered(
    "With `Prefer: wait`: the job ended within that time",
    ref(JobDetail),
    examples.COMPLETED,
    examples.FAILED,
    headers=("Location", "Operation-Location", "Content-Location", "ETag", "Preference-Applied"),
    sometimes=("Idempotency-Replayed", *RATE_HEADERS),
    links=JOB_LINKS,
)
SUBMISSION_HEADERS = ("Idempotency-Key", "Prefer")
KEY_PROBLEMS = ("malformed-request", "idempotency-key-reused", "gone")

BADGE_CONTENT: dict[str, Schema] = {
    "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
    "image/svg+xml": {"schema": {"type": "string"}},
}
"""It is always SVG. The first is for client generators, which support no images."""

COUNTS: Schema = {"type": "object", "additionalProperties": {"type": "integer"}}

OPERATIONS: Operations = {
    ("GET", "/jobs"): Operation(
        id="listJobs",
        tag="jobs",
        summary="List jobs",
        description=(
            "In pages: the `nextCursor` of one page is the `cursor` of the next, and `null` after the last. If few of "
            "very many jobs match, a page may be short, or empty, although more follow."
        ),
        query=ListQuery,
        conditional=True,
        problems=("store-unavailable",),
        answers={
            200: answered(
                "A page",
                closed_object(jobs=array(ref(JobView)), nextCursor=or_null("string")),
                examples.JOBS,
                sometimes=("Link",),
                links={"next": link("listJobs", "The next page", cursor="$response.body#/nextCursor")},
            )
        },
    ),
    ("GET", "/jobs/stats"): Operation(
        id="countJobs",
        tag="jobs",
        summary="Count jobs by status and type",
        conditional=True,
        description="Of the owner; for an admin's key, of all owners. The counts are kept, so this costs little.",
        query=NoQuery,
        answers={
            200: answered(
                "The counts",
                closed_object(
                    total={"type": "integer"},
                    byStatus=COUNTS,
                    byType={"type": "object", "additionalProperties": COUNTS},
                ),
                examples.COUNTS,
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
            200: answered(
                "The job has ended",
                ref(JobDetail),
                examples.COMPLETED,
                examples.FAILED,
                examples.CANCELLED,
                headers=("ETag", "Vary"),
                sometimes=("Content-Encoding", "Preference-Applied"),
                links=JOB_LINKS,
            ),
            202: answered(
                "The job is in progress",
                ref(JobDetail),
                examples.IN_PROGRESS,
                headers=("ETag", "Retry-After", "Vary"),
                sometimes=("Content-Encoding", "Preference-Applied"),
                links=JOB_LINKS,
            ),
            303: Answer(
                description=(
                    "With `redirect`: the URL of the job's result. Without parameters, for a client that would rather "
                    "have HTML than JSON: the job's page"
                ),
                headers=("Location", "Vary"),
                sometimes=("Preference-Applied",),
            ),
            304: Answer(
                description="The job has not changed",
                headers=("ETag", "Vary"),
                sometimes=("Retry-After", "Preference-Applied"),
            ),
        },
        problems=("not-found", "too-many-waits", "store-unavailable"),
    ),
    ("PATCH", "/jobs/{id}"): Operation(
        id="editJob",
        tag="jobs",
        summary="Change a job",
        description=(
            "What is not in the body stays as it is, and `null` takes back what was given. Priority and time can be "
            "changed while the job is queued, the others always. A patch that changes nothing leaves `version` and "
            "`editTag` as they are."
        ),
        query=NoQuery,
        headers=("If-Match",),
        content={
            media_type: {"schema": ref(JobPatch), **shown([examples.PATCH])} for media_type in (MERGE_PATCH_TYPE, JSON)
        },
        answers={
            200: Answer(
                description="The job as it is now",
                content=json_content(ref(JobView), examples.EDITED),
                headers=("ETag",),
                sometimes=RATE_HEADERS,
                links={"read": JOB_LINKS["read"]},
            )
        },
        problems=(
            "malformed-request",
            "not-found",
            "conflict",
            "precondition-failed",
            "body-timeout",
            "too-large",
            "unsupported-media-type",
            "store-unavailable",
        ),
        problem_headers={415: ("Accept-Patch",)},
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
            202: answered(
                "Recorded; the job is still stopping",
                ref(JobView),
                examples.STOPPING,
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
        summary="Repeat a job that has ended as a new job",
        description=(
            "With the same inputs, uploads included, apart from the changes in the body, if there is one. The new "
            "job's `retryOf` names this one."
        ),
        query=NoQuery,
        content=json_content(ref(RetryChanges), examples.RETRY),
        headers=SUBMISSION_HEADERS,
        answers={200: FINISHED, 202: ACCEPTED},
        problems=(
            *KEY_PROBLEMS,
            "not-found",
            "conflict",
            "queue-full",
            "quota-exceeded",
            "storage-quota-exceeded",
            "disk-full",
            "store-unavailable",
            "stopping",
            "job-type-unavailable",
            "body-timeout",
            "too-large",
            "unsupported-media-type",
        ),
    ),
    ("GET", "/jobs/{id}/logs"): Operation(
        id="readLogs",
        tag="jobs",
        summary="Read a job's log",
        description="In pages: the `nextAfter` of one is the `after` of the next, and `null` after the last.",
        query=LogsQuery,
        conditional=True,
        answers={
            200: answered(
                "The log lines, oldest first",
                closed_object(lines=array(ref(LogLineView)), nextAfter=or_null("integer")),
                examples.LOG,
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
        conditional=True,
        answers={
            200: answered(
                "The attempts, oldest first; one that runs is the last",
                closed_object(attempts=array(ref(AttemptView)), nextAfter=or_null("integer")),
                examples.ATTEMPTS,
            )
        },
        problems=("not-found", "store-unavailable"),
    ),
    ("GET", "/jobs/{id}/badge.svg"): Operation(
        id="readBadge",
        tag="jobs",
        summary="A job's state as a small picture",
        description="For an `<img>`, on other sites with a ticket: `?ticket=`.",
        query=NoQuery,
        headers=("If-None-Match",),
        answers={
            200: Answer(description="The badge, as SVG", content=BADGE_CONTENT, headers=("ETag",)),
            304: Answer(description="The badge has not changed", headers=("ETag",)),
        },
        problems=("not-found", "store-unavailable"),
    ),
}
