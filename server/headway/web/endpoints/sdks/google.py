"""`/v1/jobs/operations`: jobs as Google's SDKs poll, list, cancel and delete them.

A thin view of the same record in the JSON of `google.longrunning.Operation` (google.aip.dev/151). `metadata` is the
job's representation, and a completed job's `response` its result; both are a `google.protobuf.Struct`.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any

from aiohttp import web
from pydantic import Field
from pydantic_core import to_json

from ....domain.filters import JobFilter
from ....domain.ids import JOB_ID
from ....domain.jobs import Job, JobError, Status
from ....errors import InvalidError, JobStateError
from ....representation import Encoder
from ....validation import Model
from ...identity.gate import caller, count_list
from ...parts import parts
from ...problems import Problem, also_saying, as_problem
from ...requests.path import find_job
from ...requests.query import NoQuery, query
from ...responses.json import PRIVATE, json_response
from ...responses.representations import representation

STRUCT = "type.googleapis.com/google.protobuf.Struct"
PAGE_SIZE = 50
MAX_PAGE_SIZE = 200

CODES: Mapping[int, tuple[int, str]] = {
    400: (3, "INVALID_ARGUMENT"),
    401: (16, "UNAUTHENTICATED"),
    403: (7, "PERMISSION_DENIED"),
    404: (5, "NOT_FOUND"),
    408: (4, "DEADLINE_EXCEEDED"),
    409: (10, "ABORTED"),
    416: (11, "OUT_OF_RANGE"),
    422: (3, "INVALID_ARGUMENT"),
    429: (8, "RESOURCE_EXHAUSTED"),
    499: (1, "CANCELLED"),
    501: (12, "UNIMPLEMENTED"),
    503: (14, "UNAVAILABLE"),
    504: (4, "DEADLINE_EXCEEDED"),
}
"""HTTP statuses as codes of google.rpc (google/rpc/code.proto)."""
OTHER_CODES = {4: (9, "FAILED_PRECONDITION"), 5: (13, "INTERNAL")}
CANCELLED = {"code": 1, "message": "The job was cancelled."}


class OperationsQuery(NoQuery):
    """Which page of the list is wanted."""

    pageSize: Annotated[int, Field(ge=0, le=2**31 - 1, description="0 means 50; at most 200 are returned.")] = 0  # noqa: N815
    pageToken: str = Field(  # noqa: N815
        "", description="The `nextPageToken` of the page before.", json_schema_extra={"pattern": f"^({JOB_ID})?$"}
    )
    filter: str = Field("", max_length=0, description="Filters are not supported; any value is rejected.")


def _code(status: int) -> tuple[int, str]:
    return CODES.get(status) or OTHER_CODES[status // 100]


def _google_error(problem: Problem) -> Mapping[str, Any]:
    """The error format that google.api_core reads, beside the problem's own members."""
    return {"error": {"code": problem.status, "message": problem.text, "status": _code(problem.status)[1]}}


@also_saying(_google_error)
async def read_operation(request: web.Request) -> web.Response:
    """`GET /v1/jobs/operations/{id}`"""
    _arguments(request, NoQuery)
    job = await find_job(request)
    body = _operation(parts(request).encoder, job, await parts(request).service.results.inline(job))
    return await representation(request, body, PRIVATE)


@also_saying(_google_error)
async def list_operations(request: web.Request) -> web.Response:
    """`GET /v1/jobs/operations`: newest first, without results, like other lists."""
    wanted = _arguments(request, OperationsQuery)
    size = min(wanted.pageSize or PAGE_SIZE, MAX_PAGE_SIZE)
    reading = parts(request).service.reading
    await count_list(request)
    try:
        page = await reading.page(caller(request), JobFilter(), size, wanted.pageToken or None, parameter="pageToken")
    except InvalidError as error:
        raise Problem("malformed-request", "The page token is unknown.", errors=error.errors) from None
    operations = b",".join(_operation(parts(request).encoder, job, None) for job in page.jobs)
    body = b'{"operations":[%s],"nextPageToken":%s}' % (operations, to_json(page.next_cursor or ""))
    return await representation(request, body, PRIVATE)


@also_saying(_google_error)
async def cancel_operation(request: web.Request) -> web.Response:
    """`POST /v1/jobs/operations/{id}:cancel`: recorded durably, not awaited. A job that has ended stays as it is."""
    _arguments(request, NoQuery)
    service, job_id = parts(request).service, request.match_info["id"]
    await service.reading.job(caller(request), job_id)
    with suppress(JobStateError):  # success is not promised: clients read the operation to learn the outcome
        await service.cancelling.cancel(caller(request), job_id)
    return json_response(b"{}", headers=PRIVATE)


@also_saying(_google_error)
async def delete_operation(request: web.Request) -> web.Response:
    """`DELETE /v1/jobs/operations/{id}`: deletes record, log and files; does not cancel (google.aip.dev/151)."""
    _arguments(request, NoQuery)
    await parts(request).service.cancelling.delete_ended(caller(request), request.match_info["id"])
    return json_response(b"{}", headers=PRIVATE)


def _arguments(request: web.Request, model: type[Model]) -> Model:
    """The query. These clients expect a 400 for an invalid argument."""
    try:
        return query(request, model)
    except (Problem, InvalidError) as error:
        problem = as_problem(error)
        raise Problem("malformed-request", problem.text, errors=problem.errors) from None


def _operation(encoder: Encoder, job: Job, result: bytes | None) -> bytes:
    """A `google.longrunning.Operation`; `result` is included in the response unless it is `None`."""
    name = b'"name":"jobs/operations/%s"' % job.id.encode()
    metadata = b'"metadata":%s' % _struct(encoder.job(job, None))
    outcome = _outcome(encoder, job, result)
    done = b'"done":true,%s' % outcome if outcome else b'"done":false'
    return b"{%s,%s,%s}" % (name, metadata, done)


def _outcome(encoder: Encoder, job: Job, result: bytes | None) -> bytes | None:
    match job.status:
        case Status.COMPLETED:
            url = to_json(encoder.links.result(job))
            shown = b"" if result is None else b',"result":%s' % result
            return b'"response":%s' % _struct(b'{"resultUrl":%s%s}' % (url, shown))
        case Status.FAILED if job.error is not None:
            return b'"error":%s' % to_json(_status(job.error))
        case Status.CANCELLED:
            return b'"error":%s' % to_json(CANCELLED)
        case _:
            return None


def _status(error: JobError) -> dict[str, Any]:
    """The job's error as a `google.rpc.Status`."""
    return {"code": _code(error.status)[0], "message": error.text}


def _struct(fields: bytes) -> bytes:
    return b'{"@type":"%s","value":%s}' % (STRUCT.encode(), fields)
