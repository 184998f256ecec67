"""The page and its parts, under a strict content security policy."""

from pathlib import Path

from aiohttp import web

from .problems import Problem

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".ico": "image/x-icon",
    ".js": "text/javascript",
    ".png": "image/png",
    ".svg": "image/svg+xml",
}


def static_folder() -> Path:
    """Where the page stands: beside the package in a checkout, inside it in a wheel."""
    package = Path(__file__).parent.parent
    beside = package.parent / "static"
    return beside if (beside / "index.html").is_file() else package / "static"


async def index(_request: web.Request) -> web.StreamResponse:
    """`GET /`"""
    return _file(static_folder() / "index.html")


async def static_file(request: web.Request) -> web.StreamResponse:
    """`GET /static/{path}`"""
    folder = static_folder()
    path = (folder / request.match_info["path"]).resolve()
    if not path.is_relative_to(folder) or path.suffix not in _TYPES or not path.is_file():
        raise Problem("not-found")
    return _file(path)


def _file(path: Path) -> web.FileResponse:
    response = web.FileResponse(path, headers={**HEADERS, "Content-Type": _TYPES[path.suffix]})
    if path.suffix != ".svg":
        response.charset = "utf-8"
    return response
