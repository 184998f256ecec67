"""The files of a job that a worker has: its uploads, to be read, and its output, to be written."""

from aiohttp import hdrs, web

from ...parts import parts
from ...problems import Problem
from ...requests.query import NoQuery, query
from ...responses.files import send_file
from ...responses.json import NOT_KEPT
from .arriving import check_output_name, receive_output
from .leases import in_use, named_lease, state_response


async def read_input(request: web.Request) -> web.StreamResponse:
    """`GET /work/{type}/inputs/{field}`: the file as it was uploaded, or ranges of it."""
    query(request, NoQuery)
    lease = named_lease(request)
    with in_use(request, lease):
        opened = await parts(request).service.working.open_input(lease, request.match_info["field"])
        headers = {"Content-Type": "application/octet-stream", "Content-Disposition": "attachment", **NOT_KEPT}
        response = await send_file(request, opened, headers)
        await response.prepare(request)
        await response.write_eof()
    return response


async def write_output(request: web.Request) -> web.Response:
    """`PUT /work/{type}/files/{name}`: the body is the file, of any media type."""
    query(request, NoQuery)
    lease = named_lease(request)
    name = request.match_info["name"]
    check_output_name(name)
    if hdrs.CONTENT_RANGE in request.headers:  # RFC 9110, 14.5: the rest would pass for the file
        raise Problem("malformed-request", "A file is sent whole: without Content-Range.")
    with in_use(request, lease):
        await receive_output(request, lease, name)
    return state_response(request, lease)
