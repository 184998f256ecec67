"""Refused attempts to change something, for the audit trail: the first of a kind each, the rest as a number.

They change nothing in the record, so nobody waits for their entries, and a crash may lose those of the last minute.
A client that sends many neither fills the disk with them nor causes a commit for each.
"""

from collections import Counter
from collections.abc import Mapping
from functools import partial

from aiohttp import hdrs, web

from ...clock import utc_now
from ...domain.audit import Action, Actor, Entry
from ...domain.ids import is_job_id
from ...errors import HeadwayError
from ...loops import Loop, Loops
from ...ports.audit import AuditTrail
from ..problems import Problem, as_problem
from .gate import actor
from .tickets import TICKET

WINDOW_S = 60.0
EACH_FIRST = 3
"""So many refusals of one kind, from one client, have an entry of their own within a window."""
MOST_KINDS = 30
"""Of those with keys, and of those without: further ones share an entry that names nobody."""
ACTIONS: Mapping[tuple[str, str], Action] = {
    ("POST", "/session"): Action.SIGN_IN,
    ("DELETE", "/session"): Action.SIGN_OUT,
    ("DELETE", "/jobs/{id}"): Action.CANCEL,
    ("DELETE", "/jobs/{id}/result"): Action.DELETE_RESULT,
    ("POST", "/jobs/{id}/retry"): Action.RETRY,
    ("POST", "/jobs/{id}/tickets"): Action.MAKE_TICKET,
    ("POST", "/jobs/{id}/deliveries/{deliveryId}/redeliver"): Action.REDELIVER,
    ("POST", "/v1/jobs/operations/{id}:cancel"): Action.CANCEL,
    ("DELETE", "/v1/jobs/operations/{id}"): Action.DELETE,
}
"""What requests attempt, by method and route. Other `POST`s are submissions."""

_Kind = tuple[Actor, Action, str]


class Refusals:
    """Notes refusals in the trail. There is one for each server."""

    def __init__(self, trail: AuditTrail) -> None:
        self._trail = trail
        self._known: Counter[_Kind] = Counter()
        self._unknown: Counter[_Kind] = Counter()

    def start(self, loops: Loops) -> Loop:
        self.flush()
        return loops.start("refusals", self._turn)

    async def _turn(self) -> float:
        self.flush()
        return WINDOW_S

    def note(self, request: web.Request, error: Exception) -> None:
        """Note that a request was refused, if it attempted something that the trail records."""
        if not isinstance(error, Problem | HeadwayError):
            return
        outcome = as_problem(error).kind
        action = _attempted(request, outcome)
        if action is None:
            return
        by = actor(request)
        kinds = self._unknown if by.owner is None else self._known
        kind = (by._replace(request_id=None), action, outcome)
        if kind not in kinds and len(kinds) >= MOST_KINDS:
            kind = (Actor(by.kind), action, outcome)
        kinds[kind] += 1
        if kinds[kind] <= EACH_FIRST:
            who = by if kind[0].address else kind[0]
            self._trail.note([Entry(utc_now(), who, action, subject=_asked_for(request), outcome=outcome)])

    def flush(self) -> None:
        """Note how many have come since the first ones of each kind, and begin a new window."""
        entry = partial(Entry, utc_now())
        more = [
            entry(by, action, outcome=outcome, times=count - EACH_FIRST)
            for kinds in (self._known, self._unknown)
            for (by, action, outcome), count in kinds.items()
            if count > EACH_FIRST
        ]
        self._known.clear()
        self._unknown.clear()
        if more:
            self._trail.note(more)


REFUSALS = web.AppKey("refusals", Refusals)


def _asked_for(request: web.Request) -> str | None:
    """The id of the job that the request is about, whether or not there is one; `None` if it is no id."""
    asked_for = request.match_info.get("id", "")
    return asked_for if is_job_id(asked_for) else None


def _attempted(request: web.Request, outcome: str) -> Action | None:
    """What the request attempted. A wrong key or ticket is a failed sign-in, whatever it came with."""
    if outcome == "unauthorized" and (hdrs.AUTHORIZATION in request.headers or TICKET in request.query):
        return Action.SIGN_IN
    resource = request.match_info.route.resource
    if resource is None or request.method not in (hdrs.METH_POST, hdrs.METH_DELETE):
        return None
    found = ACTIONS.get((request.method, resource.canonical))
    if found is Action.CANCEL and "purge" in request.query:
        return Action.DELETE
    return found or (Action.SUBMIT if request.method == hdrs.METH_POST else None)
