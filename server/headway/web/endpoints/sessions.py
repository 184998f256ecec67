"""`/session`: the page signs in with an API key and gets a cookie, because EventSource cannot send headers."""

from datetime import timedelta
from typing import Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic_core import to_json

from ...clock import utc_now
from ...domain.access import SESSION_PREFIX, digest, new_token
from ...domain.audit import ActorKind
from ...validation import validate
from ..identity.gate import GATE, Identity, actor, identity, outlive_session, session_token
from ..identity.rates import RATES
from ..parts import parts
from ..problems import unauthorized
from ..requests.bodies import unauthenticated_json_body
from ..requests.query import NoQuery, query
from ..responses.json import NOT_KEPT, json_response

LASTS = timedelta(days=7)
MAX_KEY_CHARS = 200


class SignIn(BaseModel, extra="forbid", strict=True):
    """The key to sign in with."""

    key: str = Field(max_length=MAX_KEY_CHARS, description="An API key.", json_schema_extra={"format": "password"})


class SessionView(BaseModel):
    """Who the request is from, as the server sees it."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", populate_by_name=True)

    key_needed: bool = Field(description="whether an API key is required")
    signed_in: bool
    name: str | None = Field(description="the key's name")
    owner: str | None = Field(description="the owner whose jobs are shown and created")
    admin: bool = Field(description="whether the jobs of all owners are shown")
    read_only: bool


async def read_session(request: web.Request) -> web.Response:
    """`GET /session`"""
    query(request, NoQuery)
    return _answer(request, identity(request))


async def open_session(request: web.Request) -> web.Response:
    """`POST /session`: sign in. Anyone may send this, so it is counted before it is read."""
    query(request, NoQuery)
    gate, keys = request.app[GATE], parts(request).keys
    request.app[RATES].count_sign_in(request)
    given = validate(SignIn, await unauthenticated_json_body(request))
    key = await gate.find_key(given.key.strip())
    if key is None:
        request.app[RATES].count_failed_sign_in(request)
        raise unauthorized("The API key is not known, or was revoked.")
    token = new_token(SESSION_PREFIX)
    by = actor(request)._replace(kind=ActorKind.SESSION, owner=key.owner, key_id=key.id)
    await keys.open_session(digest(token), key, utc_now() + LASTS, by)
    answer = _answer(request, Identity(key.caller, key, key.read_only))
    answer.set_cookie(gate.cookie, token, max_age=int(LASTS.total_seconds()), **_cookie_options(request))
    return answer


async def end_session(request: web.Request) -> web.Response:
    """`DELETE /session`: sign out."""
    query(request, NoQuery)
    gate = request.app[GATE]
    token = session_token(request, gate.cookie)
    if token is not None:
        outlive_session(request)
        await parts(request).keys.end_session(digest(token), actor(request))
    answer = web.Response(status=204, headers=NOT_KEPT)
    answer.del_cookie(gate.cookie, **_cookie_options(request))
    return answer


def _cookie_options(request: web.Request) -> dict[str, Any]:
    """Scripts cannot read the cookie, and other sites' pages cannot send it (RFC 6265bis, 4.1.2)."""
    secure = parts(request).settings.public_url.startswith("https:")
    return {"path": "/", "httponly": True, "samesite": "Strict", "secure": secure}


def _answer(request: web.Request, asking: Identity) -> web.Response:
    key = asking.key
    view = SessionView(
        key_needed=parts(request).settings.key_needed,
        signed_in=key is not None,
        name=None if key is None else key.name,
        owner=None if key is None else key.owner,
        admin=key is not None and key.admin,
        read_only=asking.read_only,
    )
    return json_response(to_json(view, by_alias=True), headers=NOT_KEPT)
