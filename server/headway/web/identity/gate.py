"""Authentication and authorization: an API key, a session opened with one, a ticket, or no credentials at all.

`Gate` identifies the client once per request, before the endpoint runs; endpoints then call `caller` and others.
"""

import hashlib
import re
from typing import NamedTuple

import structlog
from aiohttp import hdrs, web
from multidict import istr

from ...clock import utc_now
from ...domain.access import KEY_PREFIX, LOCAL_CALLER, LOCAL_OWNER, SESSION_PREFIX, ApiKey, Caller, digest, is_token
from ...domain.audit import Actor, ActorKind
from ...ports.keys import KeyStore
from ...settings import Settings
from ..connections.limits import Connection
from ..negotiation import prefers_html
from ..problems import Problem, unauthorized
from ..request_ids import request_id
from .clients import CLIENTS
from .hosts import Hosts
from .origins import Origins
from .rates import RATES
from .tickets import TICKET, Tickets

SAFE_METHODS = frozenset({hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS})
OPEN_PATHS = frozenset({"/", "/static/{path}", "/docs", "/healthz", "/readyz", "/session"})
"""Open without a key: they show no jobs."""
TICKET_PATHS = frozenset(
    {
        "/jobs/{id}",
        "/jobs/{id}/progress",
        "/jobs/{id}/result",
        "/jobs/{id}/logs",
        "/jobs/{id}/attempts",
        "/jobs/{id}/badge.svg",
        "/jobs/{id}/files",
        "/jobs/{id}/files.zip",
        "/jobs/{id}/files/{name}",
    }
)

COOKIE_DIGITS = 8

AUTHORIZATION, COOKIE, FORWARDED_FOR = istr("Authorization"), istr("Cookie"), istr("X-Forwarded-For")

log = structlog.get_logger(__name__)


class Identity(NamedTuple):
    """Who sent the request, and how they authenticated.

    `key`: the API key that was presented, directly or through a session or a ticket. `ambient`: the browser adds the
    credentials by itself, so that any page can make requests in their name. `session`: its id, if there is one.
    """

    caller: Caller
    key: ApiKey | None = None
    read_only: bool = False
    ambient: bool = False
    session: str | None = None


LOCAL = Identity(LOCAL_CALLER, ambient=True)
"""Every client of a server that only this machine can reach."""
NOBODY = Identity(Caller("", ""), read_only=True, ambient=True)
"""A client without credentials on a path that needs none."""

_IDENTITY = web.RequestKey("identity", Identity)


def client(request: web.Request) -> str:
    """The client whose streams are counted together: the address of the request, or its IPv6 network."""
    return request.app[CLIENTS].of(request)


def keys_owner(request: web.BaseRequest) -> str | None:
    """The owner of the key or session that the request came with; `None` without any.

    A request with a ticket is not the owner's, so it does not count against the owner's limits.
    """
    asking = identity(request)
    return None if asking.key is None or not asking.caller.owner else asking.key.owner


def sharer(request: web.Request) -> str:
    """Whose share of what there is once for all the request uses: its owner's or, without a key, its address's."""
    asking = request.get(_IDENTITY, NOBODY)
    if asking.key is None or not asking.caller.owner:
        return f"address {client(request)}"
    return f"owner {asking.key.owner}"


def identity(request: web.BaseRequest) -> Identity:
    """Who sent the request, as the gate found out."""
    return request[_IDENTITY]


def has_ticket(request: web.BaseRequest) -> bool:
    """Whether the request was admitted because of a ticket, and not of a key or session that came along."""
    asking = identity(request)
    return asking is not NOBODY and not asking.caller.owner


def has_key(request: web.BaseRequest) -> bool:
    """Whether the request came with a valid key or session. Not before the gate has found out."""
    asking = request.get(_IDENTITY, NOBODY)
    return asking.key is not None and bool(asking.caller.owner)


def caller(request: web.Request) -> Caller:
    """On whose behalf the request is made. If it may change something, also whom the audit trail names for that."""
    asking = identity(request).caller
    if request.method in SAFE_METHODS:
        return asking
    return Caller(asking.owner, asking.sees, asking.key_id, actor(request), asking.works_on)


def actor(request: web.Request) -> Actor:
    """Who sent the request, for the audit trail. Anonymous before the gate has found out, or if it refused."""
    asking = request.get(_IDENTITY, NOBODY)
    address, id = request.app[CLIENTS].of(request), request_id(request)
    if asking.key is None:
        return Actor(ActorKind.LOCAL if asking is LOCAL else ActorKind.ANONYMOUS, None, None, address, id)
    kind = ActorKind.SESSION if asking.session else ActorKind.KEY if asking.caller.owner else ActorKind.TICKET
    return Actor(kind, asking.key.owner, asking.key.id, address, id)


def count_submission(request: web.Request) -> None:
    """Raises `Problem` if the request's owner, or its address, has reached the limit."""
    request.app[RATES].count_submission(request, keys_owner(request))


def count_part(request: web.Request) -> None:
    """Raises `Problem` if the request's owner, or its address, has reached the limit."""
    request.app[RATES].count_part(request, keys_owner(request))


def count_redelivery(request: web.Request) -> None:
    """Raises `Problem` if the request's owner, or its address, has reached the limit."""
    request.app[RATES].count_redelivery(request, keys_owner(request))


def count_edit(request: web.Request) -> None:
    """Raises `Problem` if the request's owner, or its address, has reached the limit."""
    request.app[RATES].count_edit(request, keys_owner(request))


def count_ticket(request: web.Request) -> None:
    """Raises `Problem` if the request's owner, or its address, has reached the limit."""
    request.app[RATES].count_ticket(request, keys_owner(request))


def count_claim(request: web.Request) -> None:
    """Raises `Problem` if the request's owner, or its address, has reached the limit."""
    request.app[RATES].count_claim(request, keys_owner(request))


async def count_list(request: web.Request) -> None:
    """Raises `Problem` if the request's owner has reached the limit of lists."""
    await request.app[RATES].count_list(request, keys_owner(request))


async def count_snapshot(request: web.Request) -> None:
    """Raises `Problem` if the request's owner has reached the limit of streams that begin with many jobs."""
    await request.app[RATES].count_snapshot(request, keys_owner(request))


def outlive_session(request: web.Request) -> None:
    """Keep the request's connection when its session ends: it carries the answer to signing out."""
    if isinstance(request.protocol, Connection):
        request.protocol.session = None


def refuse_unless_operator(request: web.BaseRequest) -> None:
    """Raises `Problem` unless the client may see the figures of all owners."""
    key = identity(request).key
    if key is not None and not key.admin:
        raise Problem("forbidden", "An admin's key is required.")


class Gate:
    """Admits requests, or raises `Problem`. Polls are frequent, so what most requests lack is checked cheaply."""

    def __init__(self, settings: Settings, keys: KeyStore, tickets: Tickets) -> None:
        self._keys = keys
        self._tickets = tickets
        self.hosts = Hosts(settings)
        self._key_needed = settings.key_needed
        self._warned = settings.insecure
        self.origins = Origins(settings.cors_origins, settings.public_url)
        self._cookie_prefix = "__Host-headway-" if settings.public_url.startswith("https:") else "headway-"
        self.cookie = ""
        """The name of the session's cookie. Before `start` there is none."""

    async def start(self) -> None:
        """Name the cookie after this server: cookies know no ports, so two servers on one host would share one name."""
        secret = await self._keys.secret()
        self.cookie = self._cookie_prefix + hashlib.sha256(b"session cookie" + secret).hexdigest()[:COOKIE_DIGITS]

    async def admit(self, request: web.Request) -> None:
        """Identify the client. From here on `identity` can be called."""
        self.hosts.check(request)
        if not self._warned and FORWARDED_FOR in request.headers:
            self._warn_of_proxy(request)
        asking = await self._identify(request)
        request[_IDENTITY] = asking
        if request.method not in SAFE_METHODS:
            self._check_write(request, asking)
        if isinstance(request.protocol, Connection):
            request.protocol.key_id = None if asking.key is None else asking.key.id
            request.protocol.session = asking.session
            if asking.key is not None:
                request.protocol.authenticated(asking.key.owner, by_ticket=not asking.caller.owner)

    def _warn_of_proxy(self, request: web.Request) -> None:
        """Once, not for every request: `HEADWAY_TRUSTED_PROXIES` or `HEADWAY_PUBLIC_URL` is missing."""
        if not self._key_needed:
            self._warned = True
            log.warning("requests come through a proxy, and no key is required: set HEADWAY_PUBLIC_URL")
        elif request.app[CLIENTS].of_peer(request.remote or "") is not None:
            self._warned = True
            log.warning(
                "requests come through a proxy that HEADWAY_TRUSTED_PROXIES does not name: its clients count as one "
                "address",
                proxy=request.remote,
            )

    async def _identify(self, request: web.Request) -> Identity:
        headers = request.headers
        if AUTHORIZATION in headers and (token := _bearer(headers[AUTHORIZATION])) is not None:
            return await self._by_key(request, token)
        if COOKIE in headers and (asking := await self._by_session(request)) is not None:
            return asking
        if request.rel_url.raw_query_string and TICKET in request.query and takes_ticket(request):
            return await self._by_ticket(request)
        if not self._key_needed:
            return LOCAL
        if _canonical(request) in OPEN_PATHS or _leads_to_page(request):
            return NOBODY
        raise unauthorized("Send an API key: Authorization: Bearer hwk_...")

    async def _by_key(self, request: web.Request, token: str) -> Identity:
        key = await self.find_key(token)
        if key is None:
            request.app[RATES].count_failed_sign_in(request)
            raise unauthorized("The API key is unknown or was revoked.", error="invalid_token")
        return Identity(key.caller, key, key.read_only)

    async def find_key(self, token: str) -> ApiKey | None:
        """The key, if it is valid."""
        return await self._keys.find(digest(token)) if is_token(token, KEY_PREFIX) else None

    async def _by_session(self, request: web.Request) -> Identity | None:
        """`None` for a useless cookie: browsers also send those that other servers on this host have set."""
        token = session_token(request, self.cookie)
        if token is None:
            return None
        session = digest(token)
        key = await self._keys.find_session(session, utc_now())
        return None if key is None else Identity(key.caller, key, key.read_only, ambient=True, session=session)

    async def _by_ticket(self, request: web.Request) -> Identity:
        """May read one job. Only that job's paths accept a ticket, so nothing else has to check what it is for."""
        ticket = await self._tickets.check(request.query[TICKET], request.match_info["id"], utc_now())
        key = None if ticket.key_id is None else await self._keys.get(ticket.key_id)
        if (ticket.key_id is None and self._key_needed) or (ticket.key_id is not None and key is None):
            raise unauthorized("The key that created the ticket was revoked.")
        if request.method not in SAFE_METHODS:
            raise unauthorized("A ticket is read-only.")
        sees = LOCAL_OWNER if key is None else key.caller.sees
        return Identity(Caller("", sees), key, read_only=True)

    def _check_write(self, request: web.Request, asking: Identity) -> None:
        if asking.ambient:
            self.origins.refuse_foreign(request, with_cookie=asking.key is not None)
        if asking.read_only and asking is not NOBODY and not _open_to_readers(_canonical(request)):
            raise Problem("forbidden", "The API key is read-only.")


GATE = web.AppKey("gate", Gate)


def _leads_to_page(request: web.Request) -> bool:
    """Whether the answer only leads to the page, where one can sign in.

    No browser sends the cookie with the request that a link on another site causes (`SameSite=Strict`).
    """
    page = request.method in SAFE_METHODS and not request.rel_url.raw_query_string and prefers_html(request)
    return page and _canonical(request) == "/jobs/{id}"


def takes_ticket(request: web.Request) -> bool:
    """Whether the path is one that accepts a ticket."""
    return _canonical(request) in TICKET_PATHS


def session_token(request: web.BaseRequest, cookie: str) -> str | None:
    """The content of the session's cookie, if it looks like a session."""
    # Only this cookie is looked for: parsing all of a header takes milliseconds, and clients without a key send it too.
    found = re.findall(
        rf"(?:^|;)[ \t]*{re.escape(cookie)}=([\w-]*)[ \t]*(?=;|$)", request.headers.get(COOKIE, ""), re.ASCII
    )
    return found[-1] if found and is_token(found[-1], SESSION_PREFIX) else None


def _bearer(authorization: str) -> str | None:
    """The token (RFC 6750, 2.1); `None` for other schemes, which may be meant for a proxy."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _open_to_readers(path: str | None) -> bool:
    """Whether a read-only key may write there: it can sign out, and do jobs if it has that right of its own."""
    return path is not None and (path == "/session" or path.startswith("/work/"))


def _canonical(request: web.Request) -> str | None:
    resource = request.match_info.route.resource
    return None if resource is None else resource.canonical
