"""JSON responses."""

from aiohttp import web

from ..problems import RATE_LIMITS

PRIVATE = {"Cache-Control": "private, no-cache"}
NOT_KEPT = {"Cache-Control": "no-store"}


def json_response(body: bytes, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")


def not_kept(request: web.Request) -> dict[str, str]:
    """The headers of a response that is not to be stored, with what the request has left of its rate limits."""
    return {**NOT_KEPT, **request.get(RATE_LIMITS, {})}
