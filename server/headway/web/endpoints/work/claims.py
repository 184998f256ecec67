"""`POST /work/{type}/claim`: a worker asks for a job."""

from typing import Annotated, Any

from aiohttp import web
from pydantic import AwareDatetime, Field
from pydantic_core import to_json

from ....clock import utc_now
from ....domain.audit import Action, Entry
from ....links import Links
from ....ports.work import Lease
from ....representation import instant, path_segment
from ...identity.gate import actor, caller, client, count_claim, keys_owner
from ...links import LINKS
from ...parts import parts
from ...requests.query import NoQuery, query
from ...responses.json import json_response, not_kept
from ..jobs import MAX_WAIT_S
from .leases import CamelModel


class ClaimQuery(NoQuery):
    """How long to wait for a job."""

    wait: Annotated[float, Field(ge=0, le=MAX_WAIT_S, allow_inf_nan=False)] = Field(
        0.0, description="Seconds to wait for a job, if there is none."
    )


class InputFileView(CamelModel):
    """An upload of the job."""

    field: str
    filename: str
    content_type: str
    size_bytes: int
    url: str


class AssignmentView(CamelModel):
    """A job that the worker now has, and its lease."""

    lease: str = Field(description="the token to send as `Headway-Lease`")
    lease_seconds: float = Field(description="how long the worker may be silent before the attempt is lost")
    lease_expires_at: AwareDatetime
    job_id: str
    type: str
    owner: str = Field(description="whose job it is")
    attempt: int = Field(description="the number of this attempt; the first is 1")
    timeout_seconds: float | None = Field(description="how long the attempt may take in all")
    uploads: list[InputFileView]
    input: Any = Field(description="the input, without its uploads")
    checkpoint: Any = Field(description="the last checkpoint of an earlier attempt, or null")


async def claim_job(request: web.Request) -> web.Response:
    """200 with a lease, or 204 if there was no job to be had."""
    wanted = query(request, ClaimQuery)
    count_claim(request)
    of, asking = parts(request), caller(request)
    with of.lost_clients.cancelling(request):
        lease = await of.service.working.claim(
            asking, request.match_info["type"], wanted.wait, client=client(request), owner=keys_owner(request)
        )
    if lease is not None and (request.transport is None or request.transport.is_closing()):
        lease.hand_back()
        lease = None
    if lease is None:
        return web.Response(status=204, headers=not_kept(request))
    job = lease.claim.job
    of.audit.note([Entry(utc_now(), actor(request), Action.CLAIM, job.owner, job.id, job.type)])
    return json_response(assignment_json(lease, request.app[LINKS]), headers=not_kept(request))


def assignment_json(lease: Lease, links: Links) -> bytes:
    """What the worker needs to do the job. The stored JSON is inserted unchanged: a megabyte takes long to parse."""
    job, input_json, checkpoint_json = lease.claim
    fields = {
        "lease": lease.token,
        "leaseSeconds": lease.duration_s,
        "leaseExpiresAt": instant(lease.state().expires_at),
        "jobId": job.id,
        "type": job.type,
        "owner": job.owner,
        "attempt": job.attempt,
        "timeoutSeconds": job.timeout_s,
        "uploads": [
            {
                "field": file.field,
                "filename": file.filename,
                "contentType": file.content_type,
                "sizeBytes": file.size_bytes,
                "url": links.to(f"/work/{job.type}/inputs/{path_segment(file.field)}"),
            }
            for file in job.uploads
        ],
    }
    stored = input_json.encode(), b"null" if checkpoint_json is None else checkpoint_json.encode()
    return to_json(fields)[:-1] + b',"input":%s,"checkpoint":%s}' % stored
