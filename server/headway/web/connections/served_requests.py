"""The requests of one server: aiohttp's, made and handled so that what each of them needs costs little."""

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import hdrs, web
from aiohttp.http_parser import RawRequestMessage
from yarl import URL

MAX_SEGMENTS = 64
RESOLVE: web.AppKey[Callable[[web.Request], Awaitable[web.UrlMappingMatchInfo]]] = web.AppKey("resolve")
"""Finds the route of a request in place of the application's router."""


def served_by(app: web.Application, make_request: Callable[..., web.BaseRequest]) -> Callable[..., web.BaseRequest]:
    """Makes requests like `make_request`, but of a class that has the application as an attribute.

    aiohttp looks it up in the route, in four steps, since an application can be mounted in another. Ours is not, and it
    is asked for half a dozen times in a request.

    Paths of very many segments are cut, to be answered like any other unknown path: the router tries every prefix. A
    path of 31 kB that consists of slashes took it 0.1 s, before anything else.
    """
    of_app = type("Request", (web.Request,), {"app": app})

    def make(message: RawRequestMessage, *arguments: Any) -> web.BaseRequest:
        if message.path.count("/") > MAX_SEGMENTS and (path := message.url.raw_path).count("/") > MAX_SEGMENTS:
            path = "/".join(path.split("/", MAX_SEGMENTS)[:MAX_SEGMENTS])
            message = message._replace(path=path, url=URL(path, encoded=True))
        return make_request(message, *arguments, of_app)

    return make


def handled_by(app: web.Application) -> Callable[[Any], Awaitable[web.StreamResponse]]:
    """Handles requests as the application does, without what only mounted ones and further middlewares need.

    That was a thirtieth of a submission's time, and more of a poll's.
    """
    (answer,) = app.middlewares
    resolve = app.get(RESOLVE, app.router.resolve)

    async def handle(request: web.Request) -> web.StreamResponse:
        found = await resolve(request)
        found.add_app(app)  # for its signals
        found.freeze()
        request._match_info = found  # noqa: SLF001 - as aiohttp does
        if hdrs.EXPECT in request.headers:
            response = await found.expect_handler(request)
            await request.writer.drain()
            if response is not None:
                return response
        return await answer(request, found.handler)

    return handle
