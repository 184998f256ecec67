"""`multipart/form-data` bodies (RFC 7578): text parts as fields, file parts streamed to disk."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from aiohttp import BodyPartReader, MultipartReader, StreamReader, web
from aiohttp.http_exceptions import HttpProcessingError

from ...authoring.uploads import INPUT_PART
from ...domain.jobs import UploadedFile
from ...settings import Settings
from ...validation import pointer_token
from ..problems import Problem
from .bodies import MAX_ERROR_CHARS, check_charset, one_line, parsed, uncounted
from .content import MAX_LINE_BYTES, READ_BYTES, content_of, too_large
from .storing import described, store_file

FORM_TYPE = "multipart/form-data"
MAX_PARTS = 100
MAX_PART_HEADERS = 16
"""RFC 7578 defines three."""
MAX_LINES = MAX_PARTS * (MAX_PART_HEADERS + 4) + 64
"""Outside the contents of parts: their headers, the boundaries, and what stands before the first."""
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


@dataclass(slots=True)
class Body:
    """A submission's body: its JSON fields, a description of each file, and their SHA-256 if asked for."""

    fields: Any
    uploads: dict[str, UploadedFile] = field(default_factory=dict)
    sums: dict[str, str] = field(default_factory=dict)


async def read_multipart(
    request: web.Request,
    settings: Settings,
    incoming: Path | None,
    input_pointer: str,
    check_space: Callable[[int], None] = uncounted,
    *,
    count_text: Callable[[int], None] = uncounted,
    hashing: bool = False,
) -> Body:
    """The parts of a `multipart/form-data` body (RFC 7578): texts as fields, files into `incoming`, durably.

    The part `input` is JSON; other texts stay text. Each file is stored under its part's name, which must be
    an identifier; the client's file name is never a path. `input_pointer` is where the part `input` stands in
    the pointers of errors. `check_space` is given the size of each piece before it is written, and raises if the disk
    has no room for it; `count_text` is given that of each piece of text before it is kept. With `hashing` the body has
    the files' SHA-256 too; without `incoming` they are not stored. Raises `Problem`: the caller removes it.
    """
    body = Body(fields={})
    left, left_for_texts = settings.max_upload_bytes, settings.max_body_bytes
    content = content_of(request, left + left_for_texts + MAX_LINES * MAX_LINE_BYTES, MAX_LINES)
    try:
        reader = MultipartReader(
            request.headers,
            cast("StreamReader", content),  # it has what the reader calls
            max_field_size=MAX_LINE_BYTES,
            max_headers=MAX_PART_HEADERS,
        )
        while (part := await _next_part(reader)) is not None:
            if not isinstance(part, BodyPartReader):
                raise Problem("malformed-request", "A part must not contain parts.")
            name = _part_name(part, body)
            if part.filename is None or name == INPUT_PART:
                text = await _text_part(part, settings.max_body_bytes, left_for_texts, count_text)
                left_for_texts -= len(text)
                body.fields[name] = await _text_value(request, part, text, input_pointer)
            else:
                path = None if incoming is None else incoming / name
                body.uploads[name], total = await _file_part(part, path, left, check_space, hashing=hashing)
                left -= body.uploads[name].size_bytes
                if total is not None:
                    body.sums[name] = total
    except (ValueError, AssertionError, web.RequestPayloadError, HttpProcessingError) as error:
        raise Problem("malformed-request", f"The multipart body cannot be read: {one_line(error)}") from None
    return body


async def _next_part(reader: MultipartReader) -> MultipartReader | BodyPartReader | None:
    try:
        return await reader.next()
    except RuntimeError as error:  # the part `_charset_` (RFC 7578, 4.6) holds more than the name of a charset
        raise ValueError(error) from None


def _part_name(part: BodyPartReader, body: Body) -> str:
    if len(body.fields) + len(body.uploads) == MAX_PARTS:
        raise Problem("too-large", f"At most {MAX_PARTS} parts are accepted.")
    if not part.name:
        raise Problem("malformed-request", "Each part needs a name.")
    name = part.name
    pointer = f"/{pointer_token(name[:MAX_ERROR_CHARS])}"
    if not _FIELD.fullmatch(name):
        raise Problem("validation-failed", "A part's name is not a field.", errors=[(pointer, "is not a field")])
    if name in body.fields or name in body.uploads:
        raise Problem("validation-failed", "A part is given twice.", errors=[(pointer, "is given twice")])
    return name


async def _text_part(part: BodyPartReader, most: int, left: int, count: Callable[[int], None]) -> bytes:
    """A part in memory; all text parts together hold at most `most` bytes, of which `left` remain."""
    text = bytearray()
    while chunk := await part.read_chunk(READ_BYTES):
        if len(text) + len(chunk) > left:
            raise too_large(most)
        count(len(chunk))
        text += chunk
    return bytes(text)


async def _text_value(request: web.Request, part: BodyPartReader, text: bytes, input_pointer: str) -> Any:
    if part.name == INPUT_PART:
        check_charset(part.get_charset("utf-8"))
        return await parsed(request, text, input_pointer)
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        raise Problem("malformed-request", f"The part {part.name} is not UTF-8.") from None


async def _file_part(
    part: BodyPartReader, path: Path | None, most: int, room: Callable[[int], None], *, hashing: bool
) -> tuple[UploadedFile, str | None]:
    """Store the part's file. Returns its digest too, if `hashing`. Without `path` nothing is stored."""
    size_bytes, total = await store_file(part.read_chunk, path, most, room, hashing=hashing)
    content_type = part.headers.get("Content-Type", "application/octet-stream")
    return described(part.name or "", part.filename or "", content_type, size_bytes), total
