"""`POST /jobs/{id}/tickets`: a ticket for a page that watches one job without a key."""

from datetime import timedelta
from typing import Annotated
from urllib.parse import urlencode

from aiohttp import web
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic_core import to_json

from ...clock import utc_now
from ...domain.audit import Action, Entry
from ...representation import instant
from ...validation import validate
from ..identity.gate import actor, count_ticket, identity
from ..identity.tickets import TICKET, TICKETS, Ticket
from ..links import LINKS
from ..parts import parts
from ..requests.bodies import json_body
from ..requests.path import find_job
from ..requests.query import NoQuery, query
from ..responses.json import json_response, not_kept

LASTS_S = 300
LONGEST_S = 3600


class TicketOrder(BaseModel):
    """How long the ticket is valid."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", strict=True)

    expires_in_seconds: Annotated[int, Field(ge=1, le=LONGEST_S)] = LASTS_S


class TicketView(BaseModel):
    """A ticket. Keep it secret: it gives read access to the job."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")

    ticket: str = Field(description="The query parameter `ticket`, for GETs of the job and everything below it.")
    expires_at: AwareDatetime
    progress_url: str = Field(description="The job's stream, ticket included.")


async def make_ticket(request: web.Request) -> web.Response:
    """`POST /jobs/{id}/tickets`"""
    query(request, NoQuery)
    count_ticket(request)
    wanted = validate(TicketOrder, await json_body(request))
    job = await find_job(request)
    key = identity(request).key
    expires_at = utc_now() + timedelta(seconds=wanted.expires_in_seconds)
    ticket = await request.app[TICKETS].make(Ticket(job.id, None if key is None else key.id, expires_at))
    entry = Entry(utc_now(), actor(request), Action.MAKE_TICKET, job.owner, job.id, job.type)
    await parts(request).audit.append([entry])
    progress_url = f"{request.app[LINKS].job(job)}/progress?{urlencode({TICKET: ticket})}"
    fields = {"ticket": ticket, "expiresAt": instant(expires_at), "progressUrl": progress_url}
    return json_response(to_json(fields), status=201, headers=not_kept(request))
