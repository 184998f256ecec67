"""`GET /healthz` and `GET /readyz`."""

from aiohttp import web

from ...errors import StoreUnavailableError
from ..keys import READINESS, STATE
from ..problems import Problem
from ..responses.json import json_response


async def healthz(_request: web.Request) -> web.Response:
    """`GET /healthz`: the process answers."""
    return json_response(b'{"status":"ok"}', headers={"Cache-Control": "no-store"})


async def readyz(request: web.Request) -> web.Response:
    """`GET /readyz`: the store can write and the server takes work."""
    if request.app[STATE].stopping:
        raise Problem("stopping", retry_after_s=2)
    try:
        await request.app[READINESS].check()
    except StoreUnavailableError as error:
        raise Problem("store-unavailable", str(error), retry_after_s=5) from None
    return json_response(b'{"status":"ready"}', headers={"Cache-Control": "no-store"})
