"""Absolute links for clients that cannot follow a path, on a server that was not told its public URL.

They begin with the URL by which the client reached the server: `Host`, or what a trusted proxy says about it.
"""

from functools import lru_cache

from aiohttp import hdrs, web
from multidict import istr

from ...links import Links
from ..links import LINKS
from .clients import CLIENTS
from .gate import GATE

FORWARDED_HOST, FORWARDED_PROTO = istr("X-Forwarded-Host"), istr("X-Forwarded-Proto")
CLIENT_REQUEST_ID = istr("x-ms-client-request-id")
"""Azure's SDKs send it with every request (Azure REST API Guidelines)."""


def absolute_links(request: web.Request) -> Links:
    """Links with scheme and host. Only a request without `Host` (HTTP/1.0) gets paths."""
    links = request.app[LINKS]
    if links.base:
        return links
    host, scheme = request.headers.get(hdrs.HOST), request.scheme
    if request.app[CLIENTS].through_proxy(request):
        scheme = _forwarded_scheme(request) or scheme
        host = _forwarded_host(request) or host
    return _links_of(scheme, host) if host else links


@lru_cache(maxsize=128)
def _links_of(scheme: str, host: str) -> Links:
    return Links(f"{scheme}://{host}")


def location_links(request: web.Request) -> Links:
    """The links in `Location`: paths, but Azure's SDKs cannot follow these."""
    return absolute_links(request) if CLIENT_REQUEST_ID in request.headers else request.app[LINKS]


def _forwarded_scheme(request: web.Request) -> str | None:
    named = _nearest(request, FORWARDED_PROTO).lower()
    return named if named in ("http", "https") else None


def _forwarded_host(request: web.Request) -> str | None:
    """Only a name of this server: a proxy may pass on what its client made up."""
    named = _nearest(request, FORWARDED_HOST)
    return named if request.app[GATE].hosts.accepts(named) else None


def _nearest(request: web.Request, header: istr) -> str:
    """What the nearest proxy wrote: the last of the list."""
    return ",".join(request.headers.getall(header, ())).rpartition(",")[2].strip()
