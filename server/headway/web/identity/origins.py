"""Which pages may make requests: those of this server and of the origins that the operator names (CORS)."""

from collections.abc import Iterable
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from multidict import istr

from ..problems import Problem

SEC_FETCH_SITE = istr("Sec-Fetch-Site")
OWN_SITES = frozenset({"same-origin", "none"})
METHODS = "GET, HEAD, POST, PATCH, DELETE"
SENT = (
    "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Last-Event-ID, Prefer, Range, "
    "Tus-Resumable, Upload-Length, Upload-Metadata, Upload-Offset, X-HTTP-Method-Override, X-Request-ID"
)
SHOWN = (
    "Content-Disposition, Content-Location, ETag, Idempotency-Replayed, Link, Location, Operation-Location, "
    "Preference-Applied, RateLimit, RateLimit-Policy, Retry-After, Tus-Extension, Tus-Max-Size, Tus-Resumable, "
    "Tus-Version, Upload-Expires, Upload-Length, Upload-Metadata, Upload-Offset, X-Request-ID"
)
PREFLIGHT_KEPT_S = 600


class Origins:
    """The origins whose pages may read responses; never with cookies, which are for this server's own page."""

    def __init__(self, allowed: Iterable[str], public_url: str) -> None:
        self._allowed = frozenset(allowed)
        public = urlsplit(public_url)
        self._own = f"{public.scheme}://{public.netloc}" if public.netloc else None

    def preflight(self, request: web.BaseRequest) -> web.Response | None:
        """The response to a preflight request (WHATWG Fetch); `None` if this is not one from an allowed origin."""
        if request.method != hdrs.METH_OPTIONS or hdrs.ACCESS_CONTROL_REQUEST_METHOD not in request.headers:
            return None
        if not self.allows(request.headers.get(hdrs.ORIGIN)):
            return None
        return web.Response(
            status=204,
            headers={
                hdrs.ACCESS_CONTROL_ALLOW_METHODS: METHODS,
                hdrs.ACCESS_CONTROL_ALLOW_HEADERS: SENT,
                hdrs.ACCESS_CONTROL_MAX_AGE: str(PREFLIGHT_KEPT_S),
            },
        )

    def allows(self, origin: str | None) -> bool:
        """Whether pages of this other origin may read responses."""
        return origin is not None and (origin in self._allowed or "*" in self._allowed)

    def mark(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        """Tell the browser that it may give the response to the page."""
        if not self._allowed:
            return
        vary = response.headers.get(hdrs.VARY)
        response.headers[hdrs.VARY] = hdrs.ORIGIN if vary is None else f"{vary}, {hdrs.ORIGIN}"
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is not None and self.allows(origin):
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = "*" if "*" in self._allowed else origin
            response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = SHOWN

    def refuse_foreign(self, request: web.BaseRequest, *, with_cookie: bool) -> None:
        """Raises `Problem` for a write that a page of another origin makes a browser send (cross-site request forgery).

        Programs send neither header; current browsers send at least one of them with every write.
        """
        origin, site = request.headers.get(hdrs.ORIGIN), request.headers.get(SEC_FETCH_SITE)
        if origin is site is None or (not with_cookie and self.allows(origin)):
            return
        foreign = (
            site not in OWN_SITES if site is not None else origin is not None and not self._is_own(request, origin)
        )
        if foreign:
            raise Problem("forbidden", "A page of another site cannot make this request on your behalf.")

    def _is_own(self, request: web.BaseRequest, origin: str) -> bool:
        """Compares hosts only: a proxy may have terminated TLS."""
        return origin == self._own or urlsplit(origin).netloc == request.headers.get(hdrs.HOST)
