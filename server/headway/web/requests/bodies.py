"""JSON bodies: media type, charset, content coding and size, then the text itself."""

import asyncio
import re
from collections.abc import Callable
from typing import Any

from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from ..connections import unauthenticated_bodies
from ..identity.clients import CLIENTS
from ..identity.gate import sharer
from ..parts import parts
from ..problems import Problem
from .content import coding_of, content_of, too_large
from .strict_json import parse_json

MAX_ERROR_CHARS = 200
LARGE_BYTES = 64 * 1024
"""Up to this size, parsing takes milliseconds at most."""

JSON_TYPE = "application/json"
_MEDIA_TYPE = re.compile(r"([\w!#$%&'*+.^`|~-]+/[\w!#$%&'*+.^`|~-]+)[ \t]*(?:;|\Z)", re.ASCII)
_CHARSET = re.compile(r';[ \t]*charset[ \t]*=((?:[^;"]|"(?:[^"\\]|\\.)*")*)', re.ASCII | re.IGNORECASE)


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


async def read_json(request: web.Request, most_bytes: int, count: Callable[[int], None] = uncounted) -> Any:
    """The body as JSON, up to `most_bytes`; an absent body is an empty object. `count` is given each piece's size."""
    if media_type(request) != JSON_TYPE:
        if not request.body_exists and hdrs.CONTENT_TYPE not in request.headers:
            return {}
        raise Problem("unsupported-media-type", "Send application/json or multipart/form-data.")
    coding_of(request)
    given = request.headers[hdrs.CONTENT_TYPE]
    for charset in _CHARSET.findall(given) if ";" in given else ():
        check_charset(charset.strip('" \t'))
    return await parsed(request, await _read_body(request, most_bytes, count))


async def parsed(request: web.Request, body: bytes, prefix: str = "") -> Any:
    """`parse_json`, in a thread if the body is large.

    One at a time: the threads would compete with the event loop for the interpreter.
    """
    if len(body) <= LARGE_BYTES:
        return parse_json(body, prefix)
    async with parts(request).parsing:
        return await asyncio.to_thread(parse_json, body, prefix)


async def json_body(request: web.Request, most_bytes: int | None = None) -> Any:
    """`read_json`, abandoned when the body stalls. The settings limit it if nothing else does.

    Raises `Problem` if the sender's other bodies leave no room for it.
    """
    if most_bytes is None:
        most_bytes = parts(request).settings.max_body_bytes
    if request.content.is_eof() and request.content.total_bytes <= LARGE_BYTES:  # nearly always
        return await read_json(request, most_bytes)
    arriving = parts(request).arriving
    with arriving.receiving(request.content), arriving.text(sharer(request)) as count:
        return await read_json(request, most_bytes, count)


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
    if (request.content_length or 0) > most:
        raise too_large(most)
    try:
        content = content_of(request, most)
        if request.content.is_eof() and not content.compressed:  # a small body arrives together with its head
            body = request.content.read_nowait()
            if len(body) <= most:
                count(len(body))
                return body
            raise too_large(most)
        pieces = []
        while piece := await content.read():
            count(len(piece))
            pieces.append(piece)
    except (web.RequestPayloadError, HttpProcessingError) as error:
        raise Problem("malformed-request", f"The body cannot be read: {one_line(error)}") from None
    return b"".join(pieces)


def one_line(error: Exception) -> str:
    text = error.message if isinstance(error, HttpProcessingError) else str(error)
    return " ".join(text.split())[:MAX_ERROR_CHARS]
