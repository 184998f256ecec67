"""The lease that a worker's request names, and what each response tells the worker."""

from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web
from multidict import istr
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic_core import to_json

from ....errors import LeaseLostError
from ....ports.work import Lease, LeaseState
from ....representation import instant
from ...identity.gate import caller
from ...identity.penalties import EXCUSED
from ...parts import parts
from ...problems import Problem
from ...responses.json import json_response, not_kept

LEASE = istr("Headway-Lease")


class CamelModel(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", strict=True)


class LeaseView(CamelModel):
    """How a lease stands."""

    lease_expires_at: AwareDatetime = Field(description="when it ends, unless the worker reports before")
    cancel: bool = Field(description="whether the worker should stop")
    reason: str | None = Field(description="why: `cancel`, `timeout`, `stalled` or `limit`")


def lease_token(request: web.Request) -> str:
    """The token of the lease that the request names. Raises `Problem`."""
    token = request.headers.get(LEASE, "").strip()
    if not token:
        raise Problem("malformed-request", "Name the lease that the claim was answered with: Headway-Lease: hwl_...")
    return token


def named_lease(request: web.Request) -> Lease:
    """The lease that the request names. Raises `Problem`, and what `Working.check` and `lease` raise."""
    asking, job_type, working = caller(request), request.match_info["type"], parts(request).service.working
    working.check(asking, job_type)
    return working.lease(asking, job_type, lease_token(request))


@contextmanager
def in_use(request: web.Request, lease: Lease) -> Iterator[None]:
    """`Lease.in_use` for a request. If the lease ends within the block, the worker could not know: it is excused."""
    with lease.in_use():
        try:
            yield
        except LeaseLostError:
            request[EXCUSED] = True
            raise


def state_response(request: web.Request, lease: Lease) -> web.Response:
    """The response to a report."""
    return json_response(to_json(state_fields(lease.state())), headers=not_kept(request))


def state_fields(state: LeaseState) -> dict[str, object]:
    return {"leaseExpiresAt": instant(state.expires_at), "cancel": state.stop is not None, "reason": state.stop}
