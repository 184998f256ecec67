"""The page and its files, under a strict content security policy."""

import asyncio
from pathlib import Path

from aiohttp import web

from ..problems import Problem
from ..responses.files import send_file

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
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
}


TYPE_OF_PAGE = {"Content-Type": _TYPES[".html"]}
WHILE_DEVELOPING = '<link rel="stylesheet" href="static/dev.css"><script type="module" src="static/dev.js"></script>'


def static_folder() -> Path:
    """The page's folder: inside the package in a wheel, at the top of the tree in a checkout."""
    package = Path(__file__).parents[2]
    inside = package / "static"
    return inside if (inside / "index.html").is_file() else package.parents[1] / "static"


async def index(request: web.Request) -> web.StreamResponse:
    """`GET /`"""
    return await _send(request, static_folder() / "index.html")


async def index_while_developing(_request: web.Request) -> web.Response:
    """`GET /` of `headway dev`: the page shows why changed files cannot be loaded, and reads changed types again."""
    page = await asyncio.to_thread((static_folder() / "index.html").read_text, "utf-8")
    return web.Response(text=page.replace("</head>", f"{WHILE_DEVELOPING}</head>"), headers=HEADERS | TYPE_OF_PAGE)


async def docs(request: web.Request) -> web.StreamResponse:
    """`GET /docs`: the page that shows `/openapi.json`."""
    return await _send(request, static_folder() / "docs.html")


async def static_file(request: web.Request) -> web.StreamResponse:
    """`GET /static/{path}`"""
    folder = static_folder().resolve()
    try:
        path = (folder / request.match_info["path"]).resolve()
    except (OSError, ValueError):  # a NUL, say
        raise Problem("not-found") from None
    if not path.is_relative_to(folder) or path.suffix not in _TYPES:
        raise Problem("not-found")
    return await _send(request, path)


async def _send(request: web.Request, path: Path) -> web.StreamResponse:
    try:
        opened = await asyncio.to_thread(path.open, "rb")
    except (OSError, ValueError):  # it does not exist, or its name is too long
        raise Problem("not-found") from None
    return await send_file(request, opened, {**HEADERS, "Content-Type": _TYPES[path.suffix]})
