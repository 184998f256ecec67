"""Authentication: sessions, tickets, and the ways to present a key."""

from ..endpoints.sessions import SessionView, SignIn
from ..endpoints.tickets import TicketOrder, TicketView
from ..requests.query import NoQuery
from . import examples
from .operation import (
    RATE_HEADERS,
    Answer,
    Operation,
    Operations,
    Schema,
    answered,
    json_content,
    ref,
)

SECURITY: list[Schema] = [{"key": []}, {"session": []}, {}]
"""Any one of them; `{}`: none is needed on a server that only its own machine can reach."""

SECURITY_WITH_TICKETS: list[Schema] = [{"key": []}, {"session": []}, {"ticket": []}, {}]
"""On the paths of a job that a ticket opens."""


def security_schemes(session_cookie: str) -> Schema:
    """The ways to authenticate."""
    return {
        "key": {
            "type": "http",
            "scheme": "bearer",
            "description": "An API key. `headway keys create NAME` creates one.",
        },
        "session": {
            "type": "apiKey",
            "in": "cookie",
            "name": session_cookie,
            "description": "Set by `POST /session`, for the page. Each server's cookie has its own name.",
        },
        "ticket": {
            "type": "apiKey",
            "in": "query",
            "name": "ticket",
            "description": "Created by `POST /jobs/{id}/tickets`, for reading that job.",
        },
    }


SESSION = json_content(ref(SessionView), examples.SESSION)

OPERATIONS: Operations = {
    ("GET", "/session"): Operation(
        id="readSession",
        tag="access",
        summary="Show who is signed in",
        description="As the server sees the request, and whether it needs a key at all.",
        query=NoQuery,
        answers={200: Answer(description="Who is signed in, and whether a key is needed", content=SESSION)},
    ),
    ("POST", "/session"): Operation(
        id="signIn",
        tag="access",
        summary="Sign in with an API key",
        description=(
            "For browsers: the cookie authenticates the page's EventSource too. The body has at most 16 KiB and "
            "arrives within ten seconds; an address may send 120 a minute."
        ),
        query=NoQuery,
        content=json_content(ref(SignIn), examples.SIGN_IN),
        content_required=True,
        answers={200: Answer(description="Signed in", content=SESSION, headers=("Set-Cookie",))},
        problems=("body-timeout", "too-large", "unsupported-media-type", "store-unavailable"),
    ),
    ("DELETE", "/session"): Operation(
        id="signOut",
        tag="access",
        summary="Sign out",
        description="Ends the session, its streams and its waits, and removes the cookie.",
        query=NoQuery,
        answers={204: Answer(description="The session has ended", headers=("Set-Cookie",))},
    ),
    ("POST", "/jobs/{id}/tickets"): Operation(
        id="makeTicket",
        tag="access",
        summary="Create a ticket for one job",
        description=(
            "A URL parameter that lets a page without a key read this job, its stream, log, result and files for a few "
            "minutes. It is no longer valid once the key that created it is revoked."
        ),
        query=NoQuery,
        content=json_content(ref(TicketOrder), examples.TICKET_ORDER),
        answers={201: answered("The ticket", ref(TicketView), examples.TICKET, sometimes=RATE_HEADERS)},
        problems=("not-found", "body-timeout", "too-large", "unsupported-media-type", "store-unavailable"),
    ),
}
