"""JSON bodies: media type, charset, content coding and size, then the text itself."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from ..connections import unauthenticated_bodies
from ..identity.clients import CLIENTS
from ..identity.gate import sharer
from ..identity.penalties import PENALTIES
from ..parts import parts
from ..problems import Problem
from .content import coding_of, content_of, too_large
from .strict_json import parse_json, without_halves

MAX_ERROR_CHARS = 200
LARGE_BYTES = 16 * 1024
"""Up to this size, parsing takes two milliseconds at most, whatever is in it: empty objects, for example."""

JSON_TYPE = "application/json"
MERGE_PATCH_TYPE = "application/merge-patch+json"
"""RFC 7396, 4."""
_MEDIA_TYPE = re.compile(r"([\w!#$%&'*+.^`|~-]+/[\w!#$%&'*+.^`|~-]+)[ \t]*(?:;|\Z)", re.ASCII)
_CHARSET = re.compile(
    # An unclosed quotation mark reaches to the end, and nothing is read twice (possessive): 8 KiB of them took 0.2 s.
    r';[ \t]*charset[ \t]*=((?:[^;"]|"(?:[^"\\]|\\.)*+(?:"|\\?\Z))*+)',
    re.ASCII | re.IGNORECASE,
)


def media_type(request: web.Request) -> str:
    """The body's media type, in lower case and without parameters (RFC 9110, 8.3.1); empty if the header has none.

    `request.content_type` uses Python's parser of mail headers, which raises on some malformed values.
    """
    given = request.headers.get(hdrs.CONTENT_TYPE, "")
    if given == JSON_TYPE:  # the common spelling
        return given
    found = _MEDIA_TYPE.match(given)
    return found[1].lower() if found else ""


def uncounted(_more_bytes: int) -> None:
    """The count of bytes where nobody counts them."""


async def read_json(
    request: web.Request,
    most_bytes: int,
    count: Callable[[int], None] = uncounted,
    types: Sequence[str] = (JSON_TYPE,),
    *,
    cleaned: bool = False,
) -> Any:
    """The body as JSON, up to `most_bytes`; an absent body is an empty object. `count` is given each piece's size.

    `types`: all media types that the endpoint accepts. Those of them that are JSON are read here. `cleaned`: its texts
    are cleaned further on, so that halves of surrogate pairs in them are replaced, not refused.
    """
    given = media_type(request)
    if given not in types or given not in (JSON_TYPE, MERGE_PATCH_TYPE):
        if not request.body_exists and hdrs.CONTENT_TYPE not in request.headers:
            return {}
        raise Problem("unsupported-media-type", f"Send {' or '.join(types)}.", headers=_accepted_patches(types))
    _check_coding_and_charset(request)
    body = await _read_body(request, most_bytes, count)
    return await parsed(request, body, cleaned=cleaned)


@asynccontextmanager
async def json_text(request: web.Request, most_bytes: int) -> AsyncIterator[bytes]:
    """The body's JSON text, not parsed yet. Within the block it counts as one of the sender's bodies.

    It is read when there is room for it among them. Raises `Problem` like `json_body`.
    """
    if media_type(request) != JSON_TYPE:
        raise Problem("unsupported-media-type", f"Send {JSON_TYPE}.")
    _check_coding_and_charset(request)
    length = request.content_length or 0
    if length > most_bytes:
        raise too_large(most_bytes)
    arriving = parts(request).arriving
    async with arriving.announced_text(sharer(request), length) as count:
        with arriving.receiving(request.content):
            body = await _read_body(request, most_bytes, count)
        yield body


async def text_body(request: web.Request, most_bytes: int) -> str:
    """The body as text, which is UTF-8. Raises `Problem` like `json_body`."""
    _check_coding_and_charset(request)
    arriving = parts(request).arriving
    with arriving.receiving(request.content), arriving.text(sharer(request)) as count:
        body = await _read_body(request, most_bytes, count)
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise Problem("malformed-request", "The body is not UTF-8.") from None


def _check_coding_and_charset(request: web.Request) -> None:
    coding_of(request)
    given = request.headers[hdrs.CONTENT_TYPE]
    for charset in _CHARSET.findall(given) if ";" in given else ():
        check_charset(charset.strip('" \t'))


async def parsed(request: web.Request, body: bytes, prefix: str = "", *, cleaned: bool = False) -> Any:
    """`parse_json`, in a thread if the body is large. `cleaned`: as for `read_json`.

    One at a time, since the threads would compete with the event loop for the interpreter, and each sender's in turns.
    """
    if len(body) <= LARGE_BYTES:
        return parse_json(without_halves(body) if cleaned else body, prefix)
    of = parts(request)
    async with of.turns.of(f"bodies of {sharer(request)}"), of.parsing:
        request.app[PENALTIES].check(request)  # its client's others may have been refused meanwhile
        if cleaned:
            body = await asyncio.to_thread(without_halves, body)
        return await asyncio.to_thread(parse_json, body, prefix)


def _accepted_patches(types: Sequence[str]) -> dict[str, str]:
    """What a patch may be, for clients that have sent another one (RFC 5789, 2.2)."""
    return {"Accept-Patch": ", ".join(types)} if MERGE_PATCH_TYPE in types else {}


async def json_body(
    request: web.Request,
    most_bytes: int | None = None,
    types: Sequence[str] = (JSON_TYPE,),
    *,
    cleaned: bool = False,
) -> Any:
    """`read_json`, abandoned when the body stalls. The settings limit it if nothing else does.

    Raises `Problem` if the sender's other bodies leave no room for it.
    """
    if most_bytes is None:
        most_bytes = parts(request).settings.max_body_bytes
    if request.content.is_eof() and request.content.total_bytes <= LARGE_BYTES:  # nearly always
        return await read_json(request, most_bytes, types=types, cleaned=cleaned)
    arriving = parts(request).arriving
    with arriving.receiving(request.content), arriving.text(sharer(request)) as count:
        return await read_json(request, most_bytes, count, types, cleaned=cleaned)


async def unauthenticated_json_body(request: web.Request) -> Any:
    """`json_body` from anyone, with or without a key: it has to be small and to arrive soon."""
    most_bytes = min(parts(request).settings.max_body_bytes, unauthenticated_bodies.MAX_BYTES)
    async with parts(request).unauthenticated_bodies.receiving(request, request.app[CLIENTS].of(request)):
        return await json_body(request, most_bytes)


def check_charset(charset: str | None) -> None:
    if charset is not None and charset.lower() not in ("utf-8", "utf8", "us-ascii"):
        raise Problem("malformed-request", "JSON is UTF-8 (RFC 8259, 8.1).")


async def _read_body(request: web.Request, most: int, count: Callable[[int], None]) -> bytes:
    """The decompressed body, up to `most` bytes."""
    try:
        if request.content.is_eof() and hdrs.CONTENT_ENCODING not in request.headers:
            # Nearly always: a small body arrives together with its head.
            body = request.content.read_nowait()
            if len(body) <= most:
                count(len(body))
                return body
            raise too_large(most)
        if (request.content_length or 0) > most:
            raise too_large(most)
        content, pieces = content_of(request, most), []
        while piece := await content.read():
            count(len(piece))
            pieces.append(piece)
    except (web.RequestPayloadError, HttpProcessingError) as error:
        raise Problem("malformed-request", f"The body cannot be read: {one_line(error)}") from None
    return b"".join(pieces)


def one_line(error: Exception) -> str:
    text = error.message if isinstance(error, HttpProcessingError) else str(error)
    return " ".join(text.split())[:MAX_ERROR_CHARS]
