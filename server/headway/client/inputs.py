"""What is submitted: the type by its name or its function, the input as JSON, files as parts of a form."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from io import BytesIO
from pathlib import Path
from typing import IO, Any, NamedTuple, TypedDict
from urllib.parse import quote
from uuid import UUID, uuid4

from .connection.requests import FilePart, Request

MARK = "__headway_job_type__"
"""The attribute in which `@job` and `@remote_job` leave the name of the type in a function."""
INPUT_PART = "input"
MAX_KEY_CHARS = 255
BINARY = "application/octet-stream"


class File(NamedTuple):
    """A file to be submitted: `content` is a path, bytes, or an open binary file that can be rewound."""

    content: "str | os.PathLike[str] | bytes | IO[bytes]"
    name: str | None = None
    content_type: str | None = None


FileSource = str | os.PathLike[str] | bytes | IO[bytes] | File


class SubmitOptions(TypedDict, total=False):
    """The options of a submission, as the HTTP guide describes them. Durations are seconds.

    `files` are sent as the input's fields of these names. `idempotency_key` is one of your own; without it, one is made
    for each submission.
    """

    label: str | None
    priority: int | None
    run_at: datetime | None
    timeout_s: float | None
    retain_s: float | None
    metadata: Mapping[str, str] | None
    webhook_url: str | None
    webhook_events: Sequence[str] | None
    idempotency_key: str | None
    files: Mapping[str, FileSource] | None


class RetryChanges(TypedDict, total=False):
    """What is different in a repeated job. Of `input` only the fields that change; `None` removes one."""

    input: Any
    label: str | None
    priority: int
    run_at: datetime | None


class JobEdit(TypedDict, total=False):
    """What is changed about a job. `None` takes back what was given."""

    label: str | None
    priority: int | None
    run_at: datetime | None
    retain_s: float | None
    metadata: Mapping[str, str | None] | None


class Filters(TypedDict, total=False):
    """Which jobs are listed, as the HTTP guide describes it; of several values any may match."""

    status: str | Sequence[str] | None
    type: str | Sequence[str] | None
    ids: Sequence[str] | None
    label: str | None
    q: str | None
    metadata: Mapping[str, str] | None
    created_after: datetime | None
    created_before: datetime | None
    updated_after: datetime | None
    sort: str | None


def type_name(job_type: str | Callable[..., Any]) -> str:
    """The name of a type. Raises `TypeError` for a function that declares none."""
    if isinstance(job_type, str):
        return job_type
    name = getattr(job_type, MARK, None)
    if not isinstance(name, str):
        raise TypeError(f"{job_type!r} is neither the name of a job type nor a function that @job decorates")
    return name


def submission(job_type: str | Callable[..., Any], input: Any, options: SubmitOptions) -> Request:
    """The request that submits a job; it has an idempotency key, so it can be repeated."""
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    files: dict[str, FileSource] = {**uploads_in(input), **given.pop("files", {})}
    key = {"Idempotency-Key": _quoted(str(given.pop("idempotency_key", None) or uuid4()))}
    wire = {wire_name(name): _plain_option(value) for name, value in given.items()}
    name, fields = type_name(job_type), input_json(input)
    if not files:
        rest = b"".join(b",%s:%s" % (_json(name), _json(value)) for name, value in wire.items())
        envelope = b'{"type":%s,"input":%s%s}' % (_json(name), fields, rest)
        return Request(method="POST", path="/jobs", headers=key, content=envelope)

    def parts() -> dict[str, FilePart]:
        return {INPUT_PART: (None, fields, "application/json")} | {
            field: opened(field, source) for field, source in files.items()
        }

    params = {each: query_text(value) for each, value in wire.items()}
    return Request(method="POST", path=f"/jobs/{quote(name, safe='')}", params=params, headers=key, parts=parts)


def filter_params(filters: Filters) -> dict[str, str]:
    """The query of a list."""
    given = {name: value for name, value in filters.items() if value is not None}
    metadata: Any = given.pop("metadata", None) or {}
    params = {wire_name(name): query_text(_plain_option(value)) for name, value in given.items()}
    return params | {f"metadata.{name}": value for name, value in metadata.items()}


def changes_json(changes: RetryChanges | JobEdit) -> bytes:
    """The body of a retry, or of an edit: what is given, `None` included."""
    return _json({wire_name(name): _plain_option(value) for name, value in changes.items()})


def wire_name(name: str) -> str:
    """A keyword as the API writes it: `run_at` is `runAt`, `timeout_s` is `timeoutSeconds`."""
    words = name.split("_")
    if words[-1] == "s":
        words[-1] = "seconds"
    return words[0] + "".join(word.capitalize() for word in words[1:])


def _plain_option(value: Any) -> Any:
    """An option as JSON has it. Raises `ValueError` for an instant without a time zone."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone: datetime.now(UTC) has one")
        return value.isoformat()
    return dict(value) if isinstance(value, Mapping) else value


def query_text(value: Any) -> str:
    """An option in a query."""
    if isinstance(value, dict):
        return json.dumps(value)
    return str(value) if isinstance(value, str | int | float) else ",".join(value)


def _quoted(key: str) -> str:
    """A string of structured fields (RFC 8941, 3.3.3). Raises `ValueError`."""
    if not (0 < len(key) <= MAX_KEY_CHARS and key.isascii() and key.isprintable()):
        raise ValueError(f"an idempotency key is 1 to {MAX_KEY_CHARS} printable ASCII characters, not {key!r}")
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


# JSON


def input_json(input: Any) -> bytes:
    """The input as a JSON object: a model's fields by their aliases, without files; or a mapping. `None` is empty.

    Raises `TypeError` for what JSON cannot hold, and `ValueError` for NaN and infinities.
    """
    if input is None:
        return b"{}"
    if hasattr(input, "model_dump_json"):
        files = set(uploads_in(input))
        # A round trip leaves computed fields out, which the server's model does not know as fields.
        text: str = input.model_dump_json(by_alias=True, round_trip=True, exclude=files or None)
        return text.encode()
    if not isinstance(input, Mapping):
        raise TypeError(f"the input must be a pydantic model or a mapping, not {type(input).__name__}")
    return _json(dict(input))


def _json(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False, default=_plain, separators=(",", ":")).encode()


def _plain(value: Any) -> Any:
    """What `json` does not know, as pydantic writes it. Raises `TypeError`."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json", by_alias=True, round_trip=True)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, UUID | Decimal | os.PathLike):
        return str(value)
    if isinstance(value, set | frozenset):
        return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} cannot be sent as JSON: {value!r}")


# Files


def uploads_in(input: Any) -> dict[str, File]:
    """The files of a model: its fields of the type `headway.Upload`, which the server wants as parts."""
    fields = getattr(type(input), "model_fields", None) or ()
    values: list[tuple[str, Any]] = [(name, getattr(input, name, None)) for name in fields]
    return {
        name: File(value.path, value.filename, value.content_type)
        for name, value in values
        if all(hasattr(value, each) for each in ("path", "filename", "content_type", "size_bytes"))
    }


def opened(field: str, source: FileSource) -> FilePart:
    """A part of a form, open from its beginning. Raises `OSError`, and `TypeError` for what is no file."""
    file = source if isinstance(source, File) else File(source)
    content, name = file.content, file.name
    body: Any
    if isinstance(content, str | os.PathLike):
        body = Path(content).open("rb")  # noqa: SIM115 - the transport closes it
        name = name or Path(content).name
    elif isinstance(content, bytes | bytearray):
        body = BytesIO(content)
    elif hasattr(content, "seek"):
        content.seek(0)
        own = getattr(content, "name", None)
        body, name = _Borrowed(content), name or (Path(own).name if isinstance(own, str) else None)
    else:
        raise TypeError(f"the file {field!r} must be a path, bytes or an open binary file, not {type(content)}")
    from mimetypes import guess_type  # noqa: PLC0415 - only files have one

    name = name or field
    return name, body, file.content_type or guess_type(name)[0] or BINARY


class _Borrowed:
    """A caller's open file, which the transport must not close."""

    def __init__(self, file: IO[bytes]) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell
        if hasattr(file, "fileno"):
            self.fileno = file.fileno
