"""Refused attempts to change something, for the audit trail: the first of a kind each, the rest as a number.

They change nothing in the record, so nobody waits for their entries, and a crash may lose those of the last minute.
A client that sends many neither fills the disk with them nor causes a commit for each.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from functools import partial

from aiohttp import hdrs, web
from multidict import istr
from pydantic import TypeAdapter, ValidationError

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
"""Of one owner, and of all clients without a key: further ones share an entry that names the owner alone, or nobody."""
UPLOAD = "/uploads/{uploadId}"
OVERRIDE = istr("X-HTTP-Method-Override")
ACTIONS: Mapping[tuple[str, str], Action] = {
    ("POST", "/session"): Action.SIGN_IN,
    ("DELETE", "/session"): Action.SIGN_OUT,
    ("PATCH", "/jobs/{id}"): Action.EDIT,
    ("DELETE", "/jobs/{id}"): Action.CANCEL,
    ("DELETE", "/jobs/{id}/result"): Action.DELETE_RESULT,
    ("POST", "/jobs/{id}/retry"): Action.RETRY,
    ("POST", "/jobs/{id}/tickets"): Action.MAKE_TICKET,
    ("POST", "/jobs/{id}/deliveries/{deliveryId}/redeliver"): Action.REDELIVER,
    ("POST", "/webhooks/secret/reveal"): Action.SHOW_SECRETS,
    ("POST", "/webhooks/secret/rotate"): Action.ROTATE_SECRET,
    ("POST", "/webhooks/test"): Action.TEST_WEBHOOK,
    ("POST", "/work/{type}/claim"): Action.CLAIM,
    ("POST", "/uploads"): Action.CREATE_UPLOAD,
    ("DELETE", UPLOAD): Action.DELETE_UPLOAD,
    ("POST", "/v1/jobs/operations/{id}:cancel"): Action.CANCEL,
    ("DELETE", "/v1/jobs/operations/{id}"): Action.DELETE,
}
"""What requests attempt, by method and route. Other `POST`s are submissions."""

_BOOLEAN = TypeAdapter(bool)
_Kind = tuple[Actor, Action, str]


class Refusals:
    """Notes refusals in the trail. There is one for each server."""

    def __init__(self, trail: AuditTrail) -> None:
        self._trail = trail
        self._kinds: defaultdict[str | None, Counter[_Kind]] = defaultdict(Counter)
        """By owner; `None`: of clients without a key."""

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
        kinds = self._kinds[by.owner]
        kind = (by._replace(request_id=None), action, outcome)
        if kind not in kinds and len(kinds) >= MOST_KINDS:
            kind = (Actor(by.kind, by.owner), action, outcome)
        kinds[kind] += 1
        if kinds[kind] <= EACH_FIRST:
            who = by if kind[0].address else kind[0]
            self._trail.note([Entry(utc_now(), who, action, subject=_asked_for(request), outcome=outcome)])

    def flush(self) -> None:
        """Note how many have come since the first ones of each kind, and begin a new window."""
        entry = partial(Entry, utc_now())
        more = [
            entry(by, action, outcome=outcome, times=count - EACH_FIRST)
            for kinds in self._kinds.values()
            for (by, action, outcome), count in kinds.items()
            if count > EACH_FIRST
        ]
        self._kinds.clear()
        if more:
            self._trail.note(more)


REFUSALS = web.AppKey("refusals", Refusals)


def _asked_for(request: web.Request) -> str | None:
    """The id of the job, or upload, that the request is about, whether or not there is one; `None` if it is no id."""
    asked_for = request.match_info.get("id") or request.match_info.get("uploadId", "")
    return asked_for if is_job_id(asked_for) else None


def _attempted(request: web.Request, outcome: str) -> Action | None:
    """What the request attempted. A wrong key or ticket is a failed sign-in, whatever it came with."""
    if outcome == "unauthorized" and (hdrs.AUTHORIZATION in request.headers or TICKET in request.query):
        return Action.SIGN_IN
    resource = request.match_info.route.resource
    if resource is None or request.method not in (hdrs.METH_POST, hdrs.METH_PATCH, hdrs.METH_DELETE):
        return None
    if resource.canonical == UPLOAD and request.method == hdrs.METH_POST:  # of its parts the trail says nothing
        return Action.DELETE_UPLOAD if request.headers.get(OVERRIDE) == hdrs.METH_DELETE else None
    found = ACTIONS.get((request.method, resource.canonical))
    if resource.canonical.startswith("/work/"):
        return found
    if found is Action.CANCEL and _may_purge(request.query.get("purge", "false")):
        return Action.DELETE
    return found or (Action.SUBMIT if request.method == hdrs.METH_POST else None)


def _may_purge(value: str) -> bool:
    """Whether it asks for a deletion, or may have: no boolean can be read from it."""
    try:
        return _BOOLEAN.validate_python(value)
    except ValidationError:
        return True
