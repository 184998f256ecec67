"""Who asks: sessions, tickets, and the ways to show a key."""

from ..endpoints.sessions import SessionView, SignIn
from ..endpoints.tickets import TicketOrder, TicketView
from ..requests.query import NoQuery
from .operation import Answer, Operation, Operations, Schema, json_content, ref

SECURITY: list[Schema] = [{"key": []}, {"session": []}, {}]
"""Any one of them; `{}`: on a server that only its own machine reaches, none is needed."""


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
            "description": "Set by `POST /session`, for the page. Each server's cookie has a name of its own.",
        },
        "ticket": {
            "type": "apiKey",
            "in": "query",
            "name": "ticket",
            "description": "Created by `POST /jobs/{id}/tickets`, for reading that job.",
        },
    }


SESSION = json_content(ref(SessionView))

OPERATIONS: Operations = {
    ("GET", "/session"): Operation(
        id="readSession",
        tag="access",
        summary="Who am I?",
        query=NoQuery,
        answers={200: Answer(description="Who asks, and whether a key is needed", content=SESSION)},
    ),
    ("POST", "/session"): Operation(
        id="signIn",
        tag="access",
        summary="Sign in with an API key",
        description="For browsers: the cookie lets the page's EventSource in, too.",
        query=NoQuery,
        content=json_content(ref(SignIn)),
        content_required=True,
        answers={200: Answer(description="Signed in", content=SESSION, headers=("Set-Cookie",))},
        problems=("body-timeout", "too-large", "unsupported-media-type", "store-unavailable"),
    ),
    ("DELETE", "/session"): Operation(
        id="signOut",
        tag="access",
        summary="Sign out",
        query=NoQuery,
        answers={204: Answer(description="The session has ended", headers=("Set-Cookie",))},
    ),
    ("POST", "/jobs/{id}/tickets"): Operation(
        id="makeTicket",
        tag="access",
        summary="Make a ticket for one job",
        description=(
            "A parameter for a page that has no key: it reads this job, its stream, log, result and files, for a few "
            "minutes. It ends with the key that it was made with."
        ),
        query=NoQuery,
        content=json_content(ref(TicketOrder)),
        answers={201: Answer(description="The ticket", content=json_content(ref(TicketView)))},
        problems=("not-found", "body-timeout", "too-large", "unsupported-media-type", "store-unavailable"),
    ),
}
