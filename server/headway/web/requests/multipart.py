"""`multipart/form-data` bodies (RFC 7578): text parts as fields, file parts streamed to disk."""

import asyncio
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Any, cast

from aiohttp import BodyPartReader, MultipartReader, StreamReader, web
from aiohttp.http_exceptions import HttpProcessingError

from ...authoring.uploads import INPUT_PART
from ...domain.jobs import MAX_FILENAME_CHARS, UploadedFile
from ...errors import StoreUnavailableError
from ...settings import Settings
from ...text import clean_text
from ...validation import pointer_token
from ..problems import Problem
from .bodies import MAX_ERROR_CHARS, check_charset, one_line, parsed, uncounted
from .content import MAX_LINE_BYTES, READ_BYTES, content_of, too_large

WRITE_BYTES = 1024 * 1024
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


class _Sink:
    """Where a file's bytes go: into a file, into a digest, or both. Every method blocks."""

    def __init__(self, path: Path | None, *, hashing: bool) -> None:
        self._sha256 = hashlib.sha256() if hashing else None
        self._file = None if path is None else path.open("xb", 0)

    def write(self, data: bytearray) -> None:
        if self._sha256 is not None:
            self._sha256.update(data)
        if self._file is not None:
            _write(self._file, data)

    def finish(self, rest: bytearray) -> None:
        self.write(rest)
        if self._file is not None:
            os.fsync(self._file.fileno())

    @property
    def sum(self) -> str | None:
        return None if self._sha256 is None else self._sha256.hexdigest()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


async def _file_part(
    part: BodyPartReader, path: Path | None, most: int, room: Callable[[int], None], *, hashing: bool
) -> tuple[UploadedFile, str | None]:
    """Stream a file to disk and sync it; blocking calls happen in a thread, a megabyte at a time.

    Returns its digest too, if `hashing`. Without `path` nothing is stored.
    """
    size = 0
    pending = bytearray()
    with storing():
        sink = await asyncio.to_thread(_Sink, path, hashing=hashing)
    with closing(sink):
        while chunk := await part.read_chunk(READ_BYTES):
            size += len(chunk)
            if size > most:
                raise too_large(most)
            pending += chunk
            if len(pending) >= WRITE_BYTES:
                room(len(pending))
                with storing():
                    await asyncio.to_thread(sink.write, pending)
                pending = bytearray()
        room(len(pending))
        with storing():
            await asyncio.to_thread(sink.finish, pending)
    content_type = part.headers.get("Content-Type", "application/octet-stream")
    upload = UploadedFile(
        field=part.name or "",
        filename=clean_text((part.filename or "")[-MAX_FILENAME_CHARS:], MAX_FILENAME_CHARS),
        content_type=clean_text(content_type[:MAX_FILENAME_CHARS], MAX_FILENAME_CHARS),
        size_bytes=size,
    )
    return upload, sink.sum


def _write(file: FileIO, data: bytearray) -> None:
    """Write everything: on a nearly full disk an unbuffered file accepts a part of the data without an error."""
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]


@contextmanager
def storing() -> Iterator[None]:
    """Raises `StoreUnavailableError` if the upload cannot be stored.

    For file operations only: a lost connection is an `OSError` too.
    """
    try:
        yield
    except OSError as error:
        raise StoreUnavailableError(f"the upload cannot be stored: {error.strerror}") from error
