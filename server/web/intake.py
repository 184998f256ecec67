"""Reading submissions: strict JSON, multipart with uploads, options. What is odd is refused, clearly."""

import asyncio
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache, partial
from io import FileIO
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast
from urllib.parse import unquote_to_bytes

from aiohttp import BodyPartReader, hdrs, web
from aiohttp.http_exceptions import HttpProcessingError
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    ValidationError,
)
from pydantic.alias_generators import to_camel

from ..errors import StoreUnavailableError
from ..handlers import INPUT_PART
from ..jobs import UploadedFile
from ..outgoing import MAX_URL_CHARS
from ..progress import clean_text
from ..settings import DAY_S, Settings
from .auth import takes_ticket
from .keys import FILES, SETTINGS, STATE
from .limits import check_space
from .problems import Problem
from .strict_json import parse_json, pointer_token
from .tickets import TICKET

CHUNK_BYTES = 256 * 1024
WRITE_BYTES = 1024 * 1024
MAX_LABEL_CHARS = 200
MAX_FILENAME_CHARS = 255
MAX_PARTS = 100
LAST_INSTANT = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""Beyond it a sum with the shortest duration could not be represented."""
CODINGS = frozenset({"identity", "gzip", "deflate"})

JSON_TYPE = "application/json"
_MEDIA_TYPE = re.compile(r"([\w!#$%&'*+.^`|~-]+/[\w!#$%&'*+.^`|~-]+)[ \t]*(?:;|\Z)", re.ASCII)
_CHARSET = re.compile(r';[ \t]*charset[ \t]*=((?:[^;"]|"(?:[^"\\]|\\.)*")*)', re.ASCII | re.IGNORECASE)
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)

Model = TypeVar("Model", bound=BaseModel)


def _printable(text: str) -> str:
    if any(ord(char) < 32 or ord(char) == 127 for char in text):  # noqa: PLR2004 - ASCII's control characters
        raise ValueError("must not contain control characters")
    return text


def _rfc3339(value: Any) -> Any:
    """Pydantic alone would take Unix timestamps and shorter forms too, and 400 characters of fraction."""
    if isinstance(value, str) and len(value) <= 64 and _INSTANT.fullmatch(value):  # noqa: PLR2004
        return value
    raise ValueError("must be an instant like 2026-01-31T12:00:00Z (RFC 3339)")


def _to_utc(at: datetime) -> datetime:
    try:
        utc = at.astimezone(UTC)
    except OverflowError:
        raise ValueError("is out of range") from None
    if utc > LAST_INSTANT:
        raise ValueError("is out of range")
    return utc.replace(microsecond=utc.microsecond // 1000 * 1000)


Instant = Annotated[AwareDatetime, Strict(strict=False), BeforeValidator(_rfc3339), AfterValidator(_to_utc)]
"""A point in time in a request: RFC 3339; in UTC and to the millisecond from here on."""


EventName = Literal["job.started", "job.progress", "job.completed", "job.failed", "job.cancelled"]


def separated(value: Any) -> Any:
    """A list that is written as text: in a query, or in a part of a form."""
    return [part for part in value.split(",") if part] if isinstance(value, str) else value


def _once_each(events: list[EventName]) -> list[EventName]:
    return sorted(set(events))


_WEBHOOK_URL = Field(
    max_length=MAX_URL_CHARS,
    description="Who is told of the job: an http(s) URL, of a public address.",
    json_schema_extra={"pattern": "^[Hh][Tt][Tt][Pp][Ss]?://"},
)
_WEBHOOK_EVENTS: Any = Field(
    default_factory=list,
    description="Of what; by default of all but `job.progress`.",
)

_LABEL = Field(max_length=MAX_LABEL_CHARS, json_schema_extra={"pattern": r"^[^\x00-\x1f\x7f]*$"})


class SubmitOptions(BaseModel):
    """How a job is to be run: query parameters of `POST /jobs/{type}`, fields of the envelope."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")

    label: Annotated[str, _LABEL, AfterValidator(_printable)] | None = None
    priority: Annotated[int, Field(ge=-100, le=100)] = 0
    run_at: Instant | None = None
    timeout_seconds: Annotated[float, Field(gt=0, le=30 * DAY_S, allow_inf_nan=False)] | None = None
    retain_seconds: Annotated[float, Field(ge=0, le=366 * DAY_S, allow_inf_nan=False)] | None = None
    webhook_url: Annotated[str, _WEBHOOK_URL] | None = None
    webhook_events: Annotated[list[EventName], BeforeValidator(separated), AfterValidator(_once_each)] = _WEBHOOK_EVENTS


class Envelope(SubmitOptions):
    """The body of `POST /jobs`. JSON has types, so `"5"` is no priority; in a form everything is text."""

    model_config = ConfigDict(strict=True)

    type: str
    input: dict[str, Any] = Field(default_factory=dict)
    webhook_events: Annotated[list[EventName], AfterValidator(_once_each)] = _WEBHOOK_EVENTS


class NoQuery(BaseModel, extra="forbid"):
    """No query parameters."""


class LastEventQuery(NoQuery):
    """The event that the client has already, for those who cannot set the header `Last-Event-ID`."""

    lastEventId: str | None = None  # noqa: N815 - the parameter's name


@dataclass(slots=True)
class Body:
    """A submission's body: JSON fields, what is known of the files that came with them, their SHA-256 if asked for."""

    fields: Any
    uploads: dict[str, UploadedFile] = field(default_factory=dict)
    sums: dict[str, str] = field(default_factory=dict)


def query(request: web.Request, model: type[Model]) -> Model:
    """The query parameters as `model`; a parameter that is unknown or given twice is refused."""
    if not request.rel_url.raw_query_string:
        return cast("Model", _without_parameters(model))
    try:
        unquote_to_bytes(request.rel_url.raw_query_string).decode("utf-8")
    except UnicodeDecodeError:  # yarl would put replacement characters there
        raise Problem("malformed-request", "The query is not UTF-8.") from None
    repeated = [key for key in request.query if len(request.query.getall(key)) > 1]
    if repeated:
        raise Problem("validation-failed", errors=[(f"/{repeated[0]}", "is given more than once")])
    parameters = dict(request.query)
    if TICKET in parameters and takes_ticket(request):  # it was for the gate
        del parameters[TICKET]
    return validate(model, parameters)


@lru_cache
def _without_parameters(model: type[BaseModel]) -> BaseModel:
    return model()


def validate(model: type[Model], fields: Any, *, strict: bool | None = None) -> Model:
    """`fields` as `model`; `strict` overrules what the model says. Raises `Problem` with a pointer for each error."""
    try:
        return model.model_validate(fields, strict=strict)
    except ValidationError as error:
        raise invalid(error) from None


def invalid(error: ValidationError, prefix: str = "") -> Problem:
    """Pydantic's errors as a problem. The offending values are left out: they may be secrets."""
    errors = [
        (prefix + "".join(f"/{pointer_token(part)}" for part in item["loc"]), item["msg"].removeprefix("Value error, "))
        for item in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    return Problem("validation-failed", errors[0][1], errors=errors)


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
        _check_charset(charset.strip('" \t'))
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


def _check_charset(charset: str | None) -> None:
    if charset is not None and charset.lower() not in ("utf-8", "utf8", "us-ascii"):
        raise Problem("malformed-request", "JSON is UTF-8 (RFC 8259, 8.1).")


async def _read_body(request: web.Request, most: int) -> bytes:
    """The body, decompressed, up to `most` bytes."""
    if (request.content_length or 0) > most:
        raise _too_large(most)
    content = request.content
    try:
        if content.is_eof():  # a small body has come with its head
            body = content.read_nowait()
            if len(body) <= most:
                return body
            raise _too_large(most)
        chunks = bytearray()
        async for chunk in content.iter_chunked(CHUNK_BYTES):
            chunks += chunk
            if len(chunks) > most:
                raise _too_large(most)
    except (web.RequestPayloadError, HttpProcessingError) as error:
        raise Problem("malformed-request", f"The body cannot be read: {_in_one_line(error)}") from None
    return bytes(chunks)


def _in_one_line(error: Exception) -> str:
    text = error.message if isinstance(error, HttpProcessingError) else str(error)
    return " ".join(text.split())[:MAX_LABEL_CHARS]


def _too_large(most: int) -> Problem:
    return Problem("too-large", f"At most {most:,} bytes are accepted.")


async def read_multipart(
    request: web.Request, settings: Settings, incoming: Path | None, input_pointer: str, *, hashing: bool = False
) -> Body:
    """The parts of a `multipart/form-data` body (RFC 7578): texts as fields, files into `incoming`, durably.

    The part `input` is JSON; other texts stay text. Each file is stored under its part's name, which must be
    an identifier; the client's file name is never a path. `input_pointer` is where the part `input` stands in
    the pointers of errors. With `hashing` the body has the files' SHA-256 too; without `incoming` nothing else is
    made of them. Raises `Problem`; the caller removes `incoming` then.
    """
    check_coding(request)
    body = Body(fields={})
    room = partial(check_space, request.app[FILES], settings) if incoming is not None else _needs_no_space
    left, left_for_texts = settings.max_upload_bytes, settings.max_body_bytes
    try:
        reader = await request.multipart()
        while (part := await reader.next()) is not None:
            if not isinstance(part, BodyPartReader):
                raise Problem("malformed-request", "A part must not hold parts.")
            name = _part_name(part, body)
            if part.filename is None or name == INPUT_PART:
                text = await _text_part(part, settings.max_body_bytes, left_for_texts)
                left_for_texts -= len(text)
                body.fields[name] = _text_value(part, text, settings, input_pointer)
            else:
                path = None if incoming is None else incoming / name
                body.uploads[name], total = await _file_part(part, path, left, room, hashing=hashing)
                left -= body.uploads[name].size_bytes
                if total is not None:
                    body.sums[name] = total
    except (ValueError, AssertionError, web.RequestPayloadError, HttpProcessingError) as error:
        raise Problem("malformed-request", f"The multipart body cannot be read: {_in_one_line(error)}") from None
    return body


def _needs_no_space(_more_bytes: int) -> None:
    """Of a file that is not stored."""


def _part_name(part: BodyPartReader, body: Body) -> str:
    if len(body.fields) + len(body.uploads) == MAX_PARTS:
        raise Problem("too-large", f"At most {MAX_PARTS} parts are accepted.")
    if not part.name:
        raise Problem("malformed-request", "Each part needs a name.")
    name = part.name
    pointer = f"/{pointer_token(name[:MAX_LABEL_CHARS])}"
    if not _FIELD.fullmatch(name):
        raise Problem("validation-failed", "A part's name is no field.", errors=[(pointer, "is no field")])
    if name in body.fields or name in body.uploads:
        raise Problem("validation-failed", "A part is given twice.", errors=[(pointer, "is given twice")])
    return name


async def _text_part(part: BodyPartReader, most: int, left: int) -> bytes:
    """A part in memory; all of them together hold at most `most` bytes, of which `left` are left."""
    text = bytearray()
    while chunk := await part.read_chunk(CHUNK_BYTES):
        text += chunk
        if len(text) > left:
            raise _too_large(most)
    return bytes(text)


def _text_value(part: BodyPartReader, text: bytes, settings: Settings, input_pointer: str) -> Any:
    if part.name == INPUT_PART:
        _check_charset(part.get_charset("utf-8"))
        return parse_json(text, settings.max_json_depth, input_pointer)
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        raise Problem("malformed-request", f"The part {part.name} is not UTF-8.") from None


class _Sink:
    """Where a file's bytes go: into a file, into a sum, or both. All of it blocks."""

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

    Returns its sum too, if one is wanted. Without `path` nothing is stored.
    """
    size = 0
    pending = bytearray()
    with storing():
        sink = await asyncio.to_thread(_Sink, path, hashing=hashing)
    with closing(sink):
        while chunk := await part.read_chunk(CHUNK_BYTES):
            size += len(chunk)
            if size > most:
                raise _too_large(most)
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
        filename=clean_text(part.filename or "")[-MAX_FILENAME_CHARS:],
        content_type=clean_text(content_type)[:MAX_FILENAME_CHARS],
        size_bytes=size,
    )
    return upload, sink.sum


def _write(file: FileIO, data: bytearray) -> None:
    """All of it: an unbuffered file takes what fits when the disk is nearly full, and does not say so."""
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]


@contextmanager
def storing() -> Iterator[None]:
    """A disk that takes no upload is a store that cannot write.

    Around file operations alone: a lost connection is an `OSError` too.
    """
    try:
        yield
    except OSError as error:
        raise StoreUnavailableError(f"the upload cannot be stored: {error.strerror}") from error
