"""Files as responses, with conditions and ranges as in RFC 9110 (13, 14), where aiohttp's FileResponse differs."""

import os
import stat
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import BinaryIO

from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter

from ..connections.slow_readers import SlowReaders
from ..parts import parts
from ..problems import Problem
from .ranges import RangesResponse, wanted_spans


async def send_file(request: web.Request, opened: BinaryIO, headers: Mapping[str, str]) -> web.StreamResponse:
    """The open file, or the requested ranges of it. Closes it. Raises `Problem`: 404, 412 or 416."""
    try:
        return _file(request, opened, headers)
    except BaseException:
        opened.close()
        raise


def _file(request: web.Request, opened: BinaryIO, headers: Mapping[str, str]) -> web.StreamResponse:
    found = os.fstat(opened.fileno())
    if not stat.S_ISREG(found.st_mode):
        raise Problem("not-found")
    etag = f"{found.st_mtime_ns:x}-{found.st_size:x}"  # as FileResponse makes it
    _check_preconditions(request, etag, found.st_mtime)
    # FileResponse gets only the outcome. Otherwise it would send `name.gz` for `name` to clients that accept gzip.
    outcome: dict[str, str] = {}
    if _not_modified(request, etag, found.st_mtime):
        outcome[hdrs.IF_NONE_MATCH] = "*"
    elif _wants_range(request, etag, found.st_mtime):
        spans = wanted_spans(request.headers[hdrs.RANGE], found.st_size)
        if len(spans) > 1:
            several = RangesResponse(opened, headers, spans, found.st_size, parts(request).slow_readers)
            several.etag = etag
            several.last_modified = found.st_mtime
            return several
        outcome[hdrs.RANGE] = f"bytes={spans[0].first}-{spans[0].end - 1}"
    if hdrs.ORIGIN in request.headers:
        outcome[hdrs.ORIGIN] = request.headers[hdrs.ORIGIN]  # a page elsewhere may be allowed to read it
    return _File(opened, headers, outcome, parts(request).slow_readers)


class _File(web.FileResponse):
    """A file, sent as if the request had only these headers."""

    def __init__(
        self,
        opened: BinaryIO,
        headers: Mapping[str, str],
        request_headers: Mapping[str, str],
        slow_readers: SlowReaders,
    ) -> None:
        super().__init__(f"/dev/fd/{opened.fileno()}", headers=headers)  # whatever its name leads to by now
        self._opened = opened
        self._request_headers = request_headers
        self._slow_readers = slow_readers

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        if self.prepared:  # sent by the endpoint itself
            return None
        # Only here: aiohttp prepares every response, and would prepare the file a second time.
        with self._opened, self._slow_readers.watching(request.transport):
            return await super().prepare(request.clone(headers=self._request_headers))


def _check_preconditions(request: web.Request, etag: str, modified_s: float) -> None:
    """Raises a 412 `Problem` (RFC 9110, 13.1.1 and 13.1.4): aiohttp's own response would have no body."""
    held = request.if_match
    if hdrs.IF_MATCH in request.headers:  # an empty one is None to aiohttp, but a condition that nothing meets
        failed = not any(tag.value in (etag, "*") and not tag.is_weak for tag in held or ())
    else:
        since_s = _date_s(request, hdrs.IF_UNMODIFIED_SINCE)
        failed = since_s is not None and modified_s > since_s
    if failed:
        raise Problem("precondition-failed")


def _wants_range(request: web.Request, etag: str, modified_s: float) -> bool:
    """Whether `Range` applies: for GET, in bytes (14.2), if `If-Range` is met (13.1.5)."""
    if request.method != hdrs.METH_GET or not request.headers.get(hdrs.RANGE, "").lower().startswith("bytes="):
        return False
    condition = request.headers.get(hdrs.IF_RANGE)
    if condition is None or condition == f'"{etag}"':
        return True
    date_s = _date_s(request, hdrs.IF_RANGE)
    return date_s is not None and modified_s <= date_s


def _not_modified(request: web.Request, etag: str, modified_s: float) -> bool:
    held = request.if_none_match
    if held is not None:
        return any(tag.value in (etag, "*") for tag in held)
    since_s = _date_s(request, hdrs.IF_MODIFIED_SINCE)
    return since_s is not None and modified_s <= since_s


def _date_s(request: web.Request, header: str) -> float | None:
    """An HTTP date in seconds since 1970; `None` if it is missing or malformed (aiohttp raises for a huge year)."""
    try:
        return parsedate_to_datetime(request.headers[header]).timestamp()
    except (KeyError, ValueError, OverflowError):
        return None
