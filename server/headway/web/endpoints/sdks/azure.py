"""`/operations/{id}`: a job as Azure's SDKs poll it.

A thin view of the same record, in the shape of the Azure REST API Guidelines ("The Status Monitor Resource"): the
answer is always 200, and `status` says how far it is. Submissions name it in `Operation-Location`.
"""

from collections.abc import Mapping
from typing import Any, Literal

from aiohttp import web
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic_core import to_json

from ....domain.jobs import Job, Status
from ....links import Links
from ....representation import instant, poll_after_s
from ...identity.base_urls import absolute_links
from ...parts import parts
from ...problems import Problem, also_saying
from ...requests.path import find_job
from ...requests.query import NoQuery, query
from ...responses.json import PRIVATE
from ...responses.representations import representation

STATUSES: Mapping[Status, str] = {
    Status.QUEUED: "NotStarted",
    Status.RUNNING: "Running",
    Status.COMPLETED: "Succeeded",
    Status.FAILED: "Failed",
    Status.CANCELLED: "Canceled",
}


class MonitorQuery(NoQuery):
    """Clients may name a version of the API; there is only one."""

    api_version: str | None = Field(None, alias="api-version", description="Ignored: there is only one version.")


class _Monitor(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")


class OperationError(_Monitor):
    """Why the job failed: the `type` of its error as the code, title and detail as the message."""

    code: str
    message: str


class StatusMonitor(_Monitor):
    """A job as Azure's SDKs see it. `monitor_fields` and the result are exactly these fields."""

    id: str
    kind: str = Field(description="the job's type")
    status: Literal["NotStarted", "Running", "Succeeded", "Failed", "Canceled"]
    percent_complete: float | None = Field(ge=0, le=100)
    created_date_time: AwareDatetime
    last_action_date_time: AwareDatetime
    expiration_date_time: AwareDatetime | None
    resource_location: str | None = Field(description="the result, once it succeeded")
    error: OperationError | None
    result: Any = Field(description="what the handler returned, up to 64 KiB")


def _azure_error(problem: Problem) -> Mapping[str, Any]:
    """The error format of the guidelines, which fills `HttpResponseError.error`."""
    return {"error": {"code": problem.kind, "message": problem.text}}


@also_saying(_azure_error)
async def read_operation(request: web.Request) -> web.Response:
    """`GET /operations/{id}`"""
    query(request, MonitorQuery)
    job = await find_job(request)
    headers = dict(PRIVATE)
    if not job.terminal:
        headers["Retry-After"] = str(poll_after_s(job))
    fields = to_json(monitor_fields(job, absolute_links(request)))
    body = b'%s,"result":%s}' % (fields[:-1], await parts(request).service.results.inline(job))
    return await representation(request, body, headers)


def monitor_fields(job: Job, links: Links) -> dict[str, Any]:
    return {
        "id": job.id,
        "kind": job.type,
        "status": STATUSES[job.status],
        "percentComplete": job.progress.percent,
        "createdDateTime": instant(job.created_at),
        "lastActionDateTime": instant(job.updated_at),
        "expirationDateTime": instant(job.expires_at),
        "resourceLocation": links.result(job) if job.status is Status.COMPLETED else None,
        "error": None if job.error is None else {"code": job.error.type, "message": job.error.text},
    }
