"""Files as answers: conditions and ranges as RFC 9110 (13, 14) wants them, where aiohttp's FileResponse differs."""

import asyncio
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter

from .problems import Problem

_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})", re.ASCII | re.IGNORECASE)


async def send_file(request: web.Request, path: Path, headers: Mapping[str, str]) -> web.StreamResponse:
    """The file at `path`, or the range of it that was asked for. Raises `Problem`: 404, 412, 416."""
    found = await asyncio.to_thread(_regular, path)
    if found is None:
        raise Problem("not-found")
    etag = f"{found.st_mtime_ns:x}-{found.st_size:x}"  # as FileResponse makes it
    _check_preconditions(request, etag, found.st_mtime)
    kept = request.headers.copy()
    # aiohttp would answer with `name.gz` where that stands beside `name`: here it is another file.
    kept.popall(hdrs.ACCEPT_ENCODING, None)
    if _wants_range(request, etag, found.st_mtime):
        _check_range(request.headers[hdrs.RANGE], found.st_size)
    else:
        kept.popall(hdrs.RANGE, None)
        kept.popall(hdrs.IF_RANGE, None)
    return _File(path, headers, kept)


class _File(web.FileResponse):
    """Is sent as if the request had had other headers."""

    def __init__(self, path: Path, headers: Mapping[str, str], request_headers: Mapping[str, str]) -> None:
        super().__init__(path, headers=headers)
        self._request_headers = request_headers

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        # Here and not before: aiohttp prepares every response, and a file a second time if it was already.
        return await super().prepare(request.clone(headers=self._request_headers))


def _regular(path: Path) -> os.stat_result | None:
    try:
        found = path.stat()
    except (OSError, ValueError):  # not there; a name that is too long, or with a NUL
        return None
    return found if stat.S_ISREG(found.st_mode) else None


def _check_preconditions(request: web.Request, etag: str, modified_s: float) -> None:
    """412 as a problem (RFC 9110, 13.1.1 and 13.1.4): what aiohttp would answer has no body."""
    held = request.if_match
    if held is not None:
        failed = not any(tag.value in (etag, "*") and not tag.is_weak for tag in held)
    else:
        since = request.if_unmodified_since
        failed = since is not None and modified_s > since.timestamp()
    if failed:
        raise Problem("precondition-failed")


def _wants_range(request: web.Request, etag: str, modified_s: float) -> bool:
    """Whether `Range` counts: for GET, in bytes (14.2), of what has changed, if `If-Range` holds (13.1.5)."""
    if request.method != hdrs.METH_GET or not request.headers.get(hdrs.RANGE, "").lower().startswith("bytes="):
        return False
    if _not_modified(request, etag, modified_s):
        return False
    condition = request.headers.get(hdrs.IF_RANGE)
    if condition is None or condition == f'"{etag}"':
        return True
    date = request.if_range
    return date is not None and modified_s <= date.timestamp()


def _not_modified(request: web.Request, etag: str, modified_s: float) -> bool:
    held = request.if_none_match
    if held is not None:
        return any(tag.value in (etag, "*") for tag in held)
    since = request.if_modified_since
    return since is not None and modified_s <= since.timestamp()


def _check_range(given: str, size_bytes: int) -> None:
    """416 as a problem, for a range that lies outside, is malformed, or is one of several."""
    found = _RANGE.fullmatch(given)
    first, last = found.groups() if found else ("", "")
    if first:
        satisfiable = int(first) < size_bytes and (not last or int(first) <= int(last))
    else:
        satisfiable = bool(last) and int(last) > 0 and size_bytes > 0
    if not satisfiable:
        raise Problem("range-not-satisfiable", headers={hdrs.CONTENT_RANGE: f"bytes */{size_bytes}"})
