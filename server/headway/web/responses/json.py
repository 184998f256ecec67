"""JSON responses."""

from aiohttp import web

PRIVATE = {"Cache-Control": "private, no-cache"}


def json_response(body: bytes, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")
