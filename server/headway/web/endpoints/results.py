"""`/jobs/{id}/result`: read it, delete it."""

from aiohttp import web

from ..identity.gate import caller
from ..parts import parts
from ..requests.path import find_job
from ..requests.query import NoQuery, query
from ..responses.json import PRIVATE, json_response


async def delete_result(request: web.Request) -> web.Response:
    """`DELETE /jobs/{id}/result`: deletes result and output files, keeps the record."""
    query(request, NoQuery)
    await parts(request).service.results.delete(caller(request), request.match_info["id"])
    return web.Response(status=204)


async def read_result(request: web.Request) -> web.Response:
    """`GET /jobs/{id}/result`: where a failed job is an HTTP error."""
    query(request, NoQuery)
    value = await parts(request).service.results.value(await find_job(request))
    return json_response(value, headers=PRIVATE)
