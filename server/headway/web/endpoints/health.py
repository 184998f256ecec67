"""`GET /healthz` and `GET /readyz`."""

from aiohttp import web

from ..parts import parts
from ..responses.json import NOT_KEPT, json_response


async def healthz(_request: web.Request) -> web.Response:
    """`GET /healthz`: the process answers."""
    return json_response(b'{"status":"ok"}', headers=NOT_KEPT)


async def readyz(request: web.Request) -> web.Response:
    """`GET /readyz`: the server takes work, the store can be written, and no background loop is failing."""
    service = parts(request).service
    service.admission.check_running()
    await service.readiness.check()
    return json_response(b'{"status":"ready"}', headers=NOT_KEPT)
