"""How a worker ends its attempt: `POST /work/{type}/complete` and `POST /work/{type}/fail`."""

from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import Field
from pydantic_core import to_json

from ....domain.jobs import Job, JobError
from ....errors import InvalidError, LeaseLostError
from ....representation import ErrorView, error_fields
from ....validation import validate
from ...identity.gate import caller
from ...parts import parts
from ...requests.bodies import json_body
from ...requests.query import NoQuery, query
from ...responses.json import json_response, not_kept
from .leases import CamelModel, in_use, lease_token, named_lease

MAX_FAILURE_BYTES = 64 * 1024


class Completion(CamelModel):
    """The job is done."""

    result: Any = Field(None, description="what the job type declares as its output")
    result_url: str | None = Field(None, description="where clients find the result, if it is more than `result`")


class Failure(CamelModel):
    """The attempt has failed."""

    title: str = Field("The worker failed", description="what happened, in a few words")
    detail: str | None = Field(None, description="what the reader can do about it")
    type: str = Field("job-failed", description="a stable word that programs can test")
    status: Annotated[int, Field(ge=400, le=599)] = Field(500, description="an HTTP status that classifies it")
    retry: bool = Field(True, description="whether to try again, if the job has an attempt left")


class EndView(CamelModel):
    """What was recorded of the end."""

    job_id: str
    attempt: int
    status: Literal["queued", "completed", "failed", "cancelled"] = Field(
        description="`queued`: there will be another attempt; `cancelled`: a cancel came first"
    )
    error: ErrorView | None


async def complete_job(request: web.Request) -> web.Response:
    """200 once the end is durable, whatever it is: a result that is not valid is a failure."""
    query(request, NoQuery)
    try:
        lease = named_lease(request)
        with in_use(request, lease):
            report = validate(Completion, await json_body(request))
            try:
                job = await parts(request).service.working.complete(lease, report.result, report.result_url)
            except ValueError as error:
                raise InvalidError([("/resultUrl", str(error))]) from None
    except LeaseLostError:
        job = await _reported_before(request)
    return json_response(to_json(end_fields(job)), headers=not_kept(request))


async def fail_job(request: web.Request) -> web.Response:
    """200 once the failure is durable."""
    query(request, NoQuery)
    try:
        lease = named_lease(request)
        with in_use(request, lease):
            report = validate(Failure, await json_body(request, MAX_FAILURE_BYTES, cleaned=True))
            error = JobError.stated(report.type, report.title, report.detail, report.status)
            job = await parts(request).service.working.fail(lease, error, retry=report.retry)
    except LeaseLostError:
        job = await _reported_before(request)
    return json_response(to_json(end_fields(job)), headers=not_kept(request))


async def _reported_before(request: web.Request) -> Job:
    """The job whose end this request repeats, because the first response was lost. Raises `LeaseLostError`."""
    working = parts(request).service.working
    return await working.reported(caller(request), request.match_info["type"], lease_token(request))


def end_fields(job: Job) -> dict[str, Any]:
    error = None if job.error is None else error_fields(job.error)
    return {"jobId": job.id, "attempt": job.attempt, "status": job.status.value, "error": error}
