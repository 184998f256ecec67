"""The headers of a page of a list."""

from urllib.parse import urlencode

from aiohttp import web

from ..links import LINKS
from .json import PRIVATE


def page_headers(request: web.Request, next_cursor: str | None) -> dict[str, str]:
    """With a `Link` to the next page if there is one (RFC 8288)."""
    headers = dict(PRIVATE)
    if next_cursor is not None:
        given = [(name, value) for name, value in request.query.items() if name != "cursor"]
        more = urlencode([*given, ("cursor", next_cursor)])
        headers["Link"] = f'<{request.app[LINKS].to(request.path)}?{more}>; rel="next"'
    return headers
