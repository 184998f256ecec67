"""The socket between the server and a child: messages as JSON, each behind its kind and length; and the child's end.

A checkpoint and a result are JSON already. They come as they are after a line feed, which the JSON before has none of:
parsing 16 MiB of text out of a string would hold the event loop for a quarter of a second.

Child processes import this module, so it loads no asyncio.
"""

import json
import math
import os
import select
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import astuple
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from ...authoring.reporting import log_line
from ...authoring.uploads import Upload
from ...domain.attempts import Usage
from ...domain.jobs import JobError
from ...limits import CHECKPOINT_BYTES, LOG_LINE_CHARS, RESULT_BYTES, TRACEBACK_CHARS
from ...ports.files import Directories
from ...tracebacks import shortened
from ..calling import End, Raised, Returned, Stopped
from .messages import (
    LINES_PER_REPORT,
    Began,
    Cancel,
    Checkpoint,
    CheckpointAnswer,
    CheckpointOutcome,
    CleanUpFailed,
    HandlerEnded,
    Message,
    Report,
    Start,
    Stays,
    Used,
)

HEAD = struct.Struct("!BI")
"""A message's kind, as its place in `_KINDS`, and the length of its body. Stray text is none: no letter is a kind."""
_SMALL = 1024
_BYTES_A_CHAR = 4  # as UTF-8; of what JSON escapes, fewer
MAX_BYTES: Mapping[type[Message], int] = MappingProxyType(
    {
        Start: 256 * 1024 * 1024,  # from the server
        Cancel: _SMALL,
        CheckpointAnswer: _SMALL,
        Began: _SMALL,
        Report: _BYTES_A_CHAR * (LINES_PER_REPORT + 1) * (LOG_LINE_CHARS + 100),
        Checkpoint: CHECKPOINT_BYTES + _SMALL,
        HandlerEnded: RESULT_BYTES + 16 * _SMALL,
        CleanUpFailed: _BYTES_A_CHAR * 2 * TRACEBACK_CHARS,
        Returned: RESULT_BYTES + 16 * _SMALL,
        Raised: _BYTES_A_CHAR * 2 * TRACEBACK_CHARS,
        Stopped: _SMALL,
        Stays: _SMALL,
        Used: _SMALL,
    }
)
"""How large a body may be. The other end cuts what it sends, so it is broken if one is larger."""
_KINDS = tuple(MAX_BYTES)
_REPORTED_VALUES = 6
_MOST_BYTES = 2**62
SOCKET_LOST = 74
"""The exit code of a child whose handler has closed or used up its channel: EX_IOERR of sysexits(3)."""


class GarbledMessageError(Exception):
    """The other end sent something that is not a message."""


class BlockingChannel:
    """The child's end. Any thread may send; one receives."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._sending = threading.Lock()
        self._woken, self._waking = os.pipe()  # macOS has no pipe2
        for end in (self._woken, self._waking):
            os.set_blocking(end, False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Close it. The channel of a process is closed by its end."""
        self._socket.close()
        os.close(self._woken)
        os.close(self._waking)

    def send(self, *messages: Message) -> None:
        """Raises `OSError` if the server is gone, `ValueError` for a message that is too large."""
        frames = b"".join(map(encode, messages))
        with self._sending:
            self._socket.sendall(frames)

    def receive(self) -> Message | None:
        """The next message, `None` if the server has closed its end or is gone."""
        head = self._exactly(HEAD.size)
        if head is None:
            return None
        kind, length = kind_and_length(head)
        body = self._exactly(length)
        return None if body is None else decode_as(kind, body)

    def readable(self, timeout_s: float) -> bool:
        """Wait at most `timeout_s` seconds for something to receive, or for the other end to close.

        `wake` ends the wait too.
        """
        ready = select.select([self._socket.fileno(), self._woken], [], [], max(0.0, timeout_s))[0]
        if self._woken in ready:
            os.read(self._woken, 4096)
        return self._socket.fileno() in ready

    def wake(self) -> None:
        """End another thread's wait, or its next one."""
        with suppress(BlockingIOError):  # it has been woken often enough
            os.write(self._waking, b"!")

    def go_on_in_fork(self) -> None:
        """Let a process that has been forked from this one send too, though another thread may have been sending."""
        self._sending = threading.Lock()

    def _exactly(self, count: int) -> bytes | None:
        received = bytearray()
        while len(received) < count:
            try:
                chunk = self._socket.recv(count - len(received))
            except ConnectionError:
                return None
            if not chunk:
                return None
            received += chunk
        return bytes(received)


def encode(message: Message) -> bytes:
    """A message as it is sent. Raises `ValueError` if it is larger than one of its kind may be."""
    kind = type(message)
    body = json.dumps(_parts(message), ensure_ascii=False).encode("utf-8", "surrogatepass")
    written = _written(message)
    if written is not None:
        body = b"%s\n%s" % (body, written.encode("utf-8", "surrogatepass"))
    if len(body) > MAX_BYTES[kind]:
        raise ValueError(f"a {kind.__name__} has at most {MAX_BYTES[kind]:,} bytes, not {len(body):,}")
    return HEAD.pack(_KINDS.index(kind), len(body)) + body


def decode(body: bytes) -> Message:
    """The message that `encode` was given, without its head. Raises `GarbledMessageError`."""
    try:
        with memoryview(body) as view:  # parts of it are not copied before they are decoded
            end = body.find(b"\n")
            if end < 0:
                return _message(*json.loads(_text(view)))
            return _message(*_with(_text(view[end + 1 :]), json.loads(_text(view[:end]))))
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError) as error:
        raise GarbledMessageError(f"{len(body):,} bytes that are not a message") from error


def _text(part: memoryview) -> str:
    return str(part, "utf-8", "surrogatepass")


def _written(message: Message) -> str | None:
    """The part of a message that is JSON already."""
    match message:
        case Checkpoint(text) | Returned(text):
            return text
        case HandlerEnded(end):
            return _written(end)
        case _:
            return None


def _with(written: str, parts: list[Any]) -> list[Any]:
    """The parts of a message with what came after them as the first field, of the end in them if there is one."""
    kind, *fields = parts
    return [kind, _with(written, *fields)] if kind == HandlerEnded.__name__ else [kind, written, *fields]


def _parts(message: Message) -> list[Any]:
    return [type(message).__name__, *_FIELDS[type(message)](message)]


def _message(kind: str, *fields: Any) -> Message:
    return _DECODERS[kind](*fields)


def kind_and_length(head: bytes) -> tuple[type[Message], int]:
    """What a message's head says. Raises `GarbledMessageError`."""
    number, length = HEAD.unpack(head)
    if number >= len(_KINDS) or length > MAX_BYTES[_KINDS[number]]:
        raise GarbledMessageError("a message's kind or length is out of range")
    return _KINDS[number], length


def decode_as(kind: type[Message], body: bytes) -> Message:
    """Decode a body. Raises `GarbledMessageError`.

    So too if it is of another kind than its head says, whose limit may be lower.
    """
    if not body.startswith(b'["%s"' % kind.__name__.encode()):
        raise GarbledMessageError("a message of another kind than its head says")
    return decode(body)


def _start_fields(start: Start) -> list[Any]:
    fields = {slot: getattr(start, slot) for slot in Start.__slots__}
    uploads = {
        field: [str(upload.path), upload.filename, upload.content_type, upload.size_bytes]
        for field, upload in start.uploads.items()
    }
    return [fields | {"directories": astuple(start.directories), "uploads": uploads}]


def _start(fields: dict[str, Any]) -> Start:
    uploads = {field: Upload(Path(path), *described) for field, (path, *described) in fields["uploads"].items()}
    return Start(**fields | {"directories": Directories(*fields["directories"]), "uploads": uploads})


def _report_fields(report: Report) -> list[Any]:
    return [report.progress, [[line.at.isoformat(), line.level, line.message] for line in report.lines], report.dropped]


def _report(progress: list[Any] | None, lines: list[list[str]], dropped: int) -> Report:
    if progress is not None and len(progress) != _REPORTED_VALUES:
        raise ValueError("progress has another number of values")
    return Report(
        None if progress is None else tuple(progress),
        tuple(log_line(level, message, _utc(at)) for at, level, message in lines),
        int(dropped),
    )


def _utc(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("an instant without a time zone")
    return at


def _raised_fields(raised: Raised) -> list[Any]:
    return [astuple(raised.error), raised.final, raised.traceback]  # the exception stays in its process


def _raised(error: list[Any], final: bool, traceback: str | None) -> Raised:
    return Raised(JobError.stated(*error), bool(final), None if traceback is None else shortened(traceback))


def _handler_ended(end: list[Any]) -> HandlerEnded:
    message = _message(*end)
    if not isinstance(message, End):
        raise TypeError(f"{type(message).__name__} is no end")
    return HandlerEnded(message)


def _used(peak_memory_bytes: int, cpu_s: float) -> Used:
    usage = Usage(int(peak_memory_bytes), float(cpu_s))
    if not (0 <= usage.peak_memory_bytes < _MOST_BYTES and 0 <= usage.cpu_s < math.inf):
        raise ValueError("the usage is out of range")
    return Used(usage)


def _no_fields(_message: Message) -> list[Any]:
    return []


_FIELDS: Mapping[type[Message], Callable[[Any], list[Any]]] = MappingProxyType(
    {
        Start: _start_fields,
        Cancel: _no_fields,
        CheckpointAnswer: lambda answer: [answer.outcome.value],
        Began: _no_fields,
        Report: _report_fields,
        Checkpoint: _no_fields,
        HandlerEnded: lambda ended: [_parts(ended.end)],
        Stays: _no_fields,
        Used: lambda used: list(used.usage),
        CleanUpFailed: lambda failed: [failed.factory, failed.reason, failed.traceback],
        Returned: lambda returned: [returned.result_url],
        Raised: _raised_fields,
        Stopped: _no_fields,
    }
)
_DECODERS: Mapping[str, Callable[..., Message]] = MappingProxyType(
    {
        "Start": _start,
        "Cancel": Cancel,
        "CheckpointAnswer": lambda outcome: CheckpointAnswer(CheckpointOutcome(outcome)),
        "Began": Began,
        "Report": _report,
        "Checkpoint": Checkpoint,
        "HandlerEnded": _handler_ended,
        "Stays": Stays,
        "Used": _used,
        "CleanUpFailed": CleanUpFailed,
        "Returned": Returned,
        "Raised": _raised,
        "Stopped": Stopped,
    }
)
