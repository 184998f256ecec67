"""Reading submissions: strict JSON, multipart with uploads, options. What is odd is refused, clearly."""

import re
from typing import Any

from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from ...settings import Settings
from ..keys import SETTINGS, STATE
from ..problems import Problem
from .options import MAX_LABEL_CHARS
from .strict_json import parse_json

CHUNK_BYTES = 256 * 1024
CODINGS = frozenset({"identity", "gzip", "deflate"})

JSON_TYPE = "application/json"
_MEDIA_TYPE = re.compile(r"([\w!#$%&'*+.^`|~-]+/[\w!#$%&'*+.^`|~-]+)[ \t]*(?:;|\Z)", re.ASCII)
_CHARSET = re.compile(r';[ \t]*charset[ \t]*=((?:[^;"]|"(?:[^"\\]|\\.)*")*)', re.ASCII | re.IGNORECASE)


def media_type(request: web.Request) -> str:
    """Of the body, in lower case and without parameters (RFC 9110, 8.3.1); empty if the header names none.

    `request.content_type` has Python's parser of mail headers beneath, which fails on some that are malformed.
    """
    given = request.headers.get(hdrs.CONTENT_TYPE, "")
    if given == JSON_TYPE:  # as most write it
        return given
    found = _MEDIA_TYPE.match(given)
    return found[1].lower() if found else ""


async def read_json(request: web.Request, settings: Settings) -> Any:
    """The body as JSON; an absent one is an empty object."""
    if media_type(request) != JSON_TYPE:
        if not request.body_exists and hdrs.CONTENT_TYPE not in request.headers:
            return {}
        raise Problem("unsupported-media-type", "Send application/json or multipart/form-data.")
    check_coding(request)
    given = request.headers[hdrs.CONTENT_TYPE]
    for charset in _CHARSET.findall(given) if ";" in given else ():
        check_charset(charset.strip('" \t'))
    return parse_json(await _read_body(request, settings.max_body_bytes), settings.max_json_depth)


def check_coding(request: web.Request) -> None:
    """415 for a content coding that aiohttp does not undo (RFC 9110, 8.4 and 15.5.16)."""
    if request.headers.get(hdrs.CONTENT_ENCODING, "identity").lower() not in CODINGS:
        raise Problem(
            "unsupported-media-type",
            "Send the body as it is, or compressed with gzip or deflate.",
            headers={"Accept-Encoding": "gzip, deflate"},
        )


async def json_body(request: web.Request) -> Any:
    """`read_json`, given up if nothing more of it comes."""
    settings, reading = request.app[SETTINGS], request.app[STATE].reading
    if request.content.is_eof():
        return await read_json(request, settings)
    reading.add(request.content)
    try:
        return await read_json(request, settings)
    finally:
        reading.discard(request.content)


def check_charset(charset: str | None) -> None:
    if charset is not None and charset.lower() not in ("utf-8", "utf8", "us-ascii"):
        raise Problem("malformed-request", "JSON is UTF-8 (RFC 8259, 8.1).")


async def _read_body(request: web.Request, most: int) -> bytes:
    """The body, decompressed, up to `most` bytes."""
    if (request.content_length or 0) > most:
        raise too_large(most)
    content = request.content
    try:
        if content.is_eof():  # a small body has come with its head
            body = content.read_nowait()
            if len(body) <= most:
                return body
            raise too_large(most)
        chunks = bytearray()
        async for chunk in content.iter_chunked(CHUNK_BYTES):
            chunks += chunk
            if len(chunks) > most:
                raise too_large(most)
    except (web.RequestPayloadError, HttpProcessingError) as error:
        raise Problem("malformed-request", f"The body cannot be read: {one_line(error)}") from None
    return bytes(chunks)


def one_line(error: Exception) -> str:
    text = error.message if isinstance(error, HttpProcessingError) else str(error)
    return " ".join(text.split())[:MAX_LABEL_CHARS]


def too_large(most: int) -> Problem:
    return Problem("too-large", f"At most {most:,} bytes are accepted.")
