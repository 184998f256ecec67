"""`/uploads`: announce a file, send its parts, ask how much has arrived, delete it."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial, wraps

from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from ....errors import DiskFullError, HeadwayError, UploadSpaceError, UploadTakenOverError
from ....service.uploads.kept import DISK_FULL_RETRY_S, KeptUpload
from ...identity.gate import caller, count_part, count_submission, sharer
from ...identity.penalties import EXCUSED, PENALTIES
from ...identity.refusals import OVERRIDE
from ...links import LINKS
from ...parts import parts
from ...problems import Problem, as_problem
from ...requests.bodies import one_line
from ...requests.content import content_of, too_large
from ...requests.query import NoQuery, query
from ...responses.json import NOT_KEPT, not_kept
from . import headers
from .headers import EXTENSIONS, LENGTH, METADATA, OFFSET, TUS_RESUMABLE, TUS_VERSION, VERSION

ONE, ALL = ("DELETE", "HEAD", "OPTIONS", "PATCH", "POST"), ("OPTIONS", "POST")
"""The methods of one upload, and of all of them."""

Endpoint = Callable[[web.Request], Awaitable[web.Response]]


def speaking_tus(endpoint: Endpoint) -> Endpoint:
    """An endpoint that refuses other versions of tus, and whose responses say which one this is."""

    @wraps(endpoint)
    async def answer(request: web.Request) -> web.Response:
        try:
            query(request, NoQuery)
            headers.check_version(request)
            headers.check_supported(request)
            response = await endpoint(request)
        except (Problem, HeadwayError) as error:
            if isinstance(error, UploadTakenOverError):  # by its own client, as a rule, which has lost this connection
                request[EXCUSED] = True
            problem = as_problem(_as_507(error) if isinstance(error, DiskFullError) else error)
            problem.headers[TUS_RESUMABLE] = VERSION
            raise problem from None
        response.headers[TUS_RESUMABLE] = VERSION
        return response

    return answer


def _as_507(error: DiskFullError) -> UploadSpaceError:
    return error if isinstance(error, UploadSpaceError) else UploadSpaceError(str(error), DISK_FULL_RETRY_S)


async def options(request: web.Request) -> web.Response:
    """`OPTIONS /uploads`, and of one upload: the version, the extensions and the largest file."""
    query(request, NoQuery)
    offered = {
        hdrs.ALLOW: ",".join(ONE if "uploadId" in request.match_info else ALL),
        TUS_RESUMABLE: VERSION,
        TUS_VERSION: VERSION,
        "Tus-Extension": EXTENSIONS,
        "Tus-Max-Size": str(parts(request).settings.max_upload_bytes),
    }
    return web.Response(status=204, headers=offered)


@speaking_tus
async def create_upload(request: web.Request) -> web.Response:
    """`POST /uploads`: 201 and the upload's URL. The body may be its first part."""
    count_submission(request)
    service, most_bytes = parts(request).service, parts(request).settings.max_upload_bytes
    announced = headers.announcement(request)
    if announced.length_bytes > most_bytes:
        raise too_large(most_bytes)
    if request.body_exists:
        headers.check_part(request)
        _check_fits(request, announced.length_bytes)
        request.app[PENALTIES].check(request)
    service.admission.check_running()
    service.admission.check_space(announced.length_bytes)
    upload = await service.uploads.create(caller(request), announced)
    answer = {hdrs.LOCATION: request.app[LINKS].to(f"/uploads/{upload.about.id}"), **headers.expires(upload.about)}
    if request.body_exists:
        with suppress(Problem, HeadwayError):  # what went wrong the next part finds out; this answer has the URL
            await _append(request, upload.about.id, 0)
        answer[OFFSET] = str(upload.received_bytes)
    return web.Response(status=201, headers=not_kept(request) | answer)


@speaking_tus
async def append_part(request: web.Request) -> web.Response:
    """`PATCH /uploads/{uploadId}`: 204 once the part is durable."""
    return await _append_part(request)


async def _append_part(request: web.Request) -> web.Response:
    count_part(request)
    headers.check_part(request)
    offset = headers.number(request, OFFSET)
    request.app[PENALTIES].check(request)
    parts(request).service.admission.check_running()
    upload = await _append(request, request.match_info["uploadId"], offset)
    answer = {OFFSET: str(upload.received_bytes), **headers.expires(upload.about)}
    return web.Response(status=204, headers=not_kept(request) | answer)


@speaking_tus
async def read_offset(request: web.Request) -> web.Response:
    """`HEAD /uploads/{uploadId}`: how much has arrived. A part that is arriving ends there."""
    return await _read_offset(request)


async def _read_offset(request: web.Request) -> web.Response:
    uploads = parts(request).service.uploads
    async with uploads.using(caller(request), request.match_info["uploadId"]) as upload:
        about = upload.about
        answer = {OFFSET: str(upload.received_bytes), LENGTH: str(about.length_bytes), **headers.expires(about)}
    if about.metadata:
        answer[METADATA] = about.metadata
    return web.Response(headers=NOT_KEPT | answer)


@speaking_tus
async def delete_upload(request: web.Request) -> web.Response:
    """`DELETE /uploads/{uploadId}`"""
    return await _delete_upload(request)


async def _delete_upload(request: web.Request) -> web.Response:
    await parts(request).service.uploads.end(caller(request), request.match_info["uploadId"])
    return web.Response(status=204)


@speaking_tus
async def override(request: web.Request) -> web.Response:
    """`POST /uploads/{uploadId}`: for clients whose network knows no other method; a header has the one that is meant.

    Only of a POST, which is checked like any other write: a GET that deletes would be anybody's link.
    """
    meant = _OVERRIDDEN.get(request.headers.get(OVERRIDE, ""))
    if meant is None:
        raise web.HTTPMethodNotAllowed(request.method, [method for method in ONE if method != request.method])
    return await meant(request)


_OVERRIDDEN = {"PATCH": _append_part, "DELETE": _delete_upload, "HEAD": _read_offset}


async def _append(request: web.Request, upload_id: str, offset: int) -> KeptUpload:
    """Append the request's body. What has arrived of it is kept, however it ends."""
    service, arriving = parts(request).service, parts(request).arriving
    interrupt = partial(
        request.content.set_exception, UploadTakenOverError("Another request has taken the upload over.")
    )
    with arriving.upload(sharer(request)):
        async with service.uploads.using(caller(request), upload_id, interrupt) as upload:
            left_bytes = upload.about.length_bytes - offset
            if offset == upload.received_bytes:  # otherwise the offset is what is wrong
                _check_fits(request, left_bytes)
            try:
                with arriving.receiving(request.content):
                    read = content_of(request, left_bytes).read
                    await service.uploads.receive(upload, offset, read, service.admission.check_space)
            except (web.RequestPayloadError, HttpProcessingError) as error:
                raise Problem("malformed-request", f"The body cannot be read: {one_line(error)}") from None
    return upload


def _check_fits(request: web.Request, left_bytes: int) -> None:
    if (request.content_length or 0) > left_bytes:
        raise Problem("too-large", f"The upload has room for {left_bytes:,} more bytes.")
