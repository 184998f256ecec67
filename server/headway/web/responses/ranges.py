"""Ranges of bytes (RFC 9110, 14): which parts of a file a request wants, and several of them in one response."""

import asyncio
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import BinaryIO, NamedTuple

from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter

from ..connections.slow_readers import SlowReaders
from ..problems import Problem

MAX_RANGES = 50
CLOSE_BYTES = 80
"""Ranges with a smaller gap between them are sent as one, which takes fewer bytes (14.2)."""
PIECE_BYTES = 256 * 1024

_SPEC = r"(\d{0,19})-(\d{0,19})"
_SPECS = re.compile(_SPEC, re.ASCII)
_SET = re.compile(rf"bytes={_SPEC}(?:[ \t]*,[ \t]*{_SPEC})*", re.ASCII | re.IGNORECASE)


class Span(NamedTuple):
    """The bytes from `first` to before `end`."""

    first: int
    end: int


def wanted_spans(given: str, size_bytes: int) -> list[Span]:
    """The spans that the header `Range` asks for, as they are sent: none overlaps another.

    Those outside the file are left out. Raises a 416 `Problem` if none is left, the header is malformed, or it asks for
    more than `MAX_RANGES`.
    """
    unsatisfiable = Problem("range-not-satisfiable", headers={hdrs.CONTENT_RANGE: f"bytes */{size_bytes}"})
    if not _SET.fullmatch(given):
        raise unsatisfiable
    specs = _SPECS.findall(given)
    if len(specs) > MAX_RANGES:
        unsatisfiable.detail = f"At most {MAX_RANGES} ranges can be asked for at a time."
        raise unsatisfiable
    if any(_is_invalid(*spec) for spec in specs):
        raise unsatisfiable
    found = [span for first, last in specs if (span := _span(first, last, size_bytes)).first < span.end]
    if not found:
        raise unsatisfiable
    return _coalesced(found)


def _is_invalid(first: str, last: str) -> bool:
    if not first:
        return not last
    return bool(last) and int(last) < int(first)


def _span(first: str, last: str, size_bytes: int) -> Span:
    """Empty if it is outside the file. Without `first`, `last` is the number of bytes at the end (14.1.2)."""
    if not first:
        return Span(max(0, size_bytes - int(last)), size_bytes)
    return Span(int(first), min(int(last) + 1, size_bytes) if last else size_bytes)


def _coalesced(spans: Sequence[Span]) -> list[Span]:
    """In the order in which they were asked for; those that overlap, or nearly, as one, and then in ascending order."""
    merged: list[Span] = []
    for span in sorted(spans):
        if merged and span.first < merged[-1].end + CLOSE_BYTES:
            merged[-1] = Span(merged[-1].first, max(span.end, merged[-1].end))
        else:
            merged.append(span)
    return merged if len(merged) < len(spans) else list(spans)


class RangesResponse(web.StreamResponse):
    """Several spans of an open file, as `multipart/byteranges` (14.6). Closes the file."""

    def __init__(
        self,
        opened: BinaryIO,
        headers: Mapping[str, str],
        spans: Sequence[Span],
        size_bytes: int,
        slow_readers: SlowReaders,
    ) -> None:
        boundary = secrets.token_hex(16)
        kind = headers["Content-Type"]
        super().__init__(
            status=206,
            headers={**headers, "Content-Type": f"multipart/byteranges; boundary={boundary}", "Accept-Ranges": "bytes"},
        )
        self._opened = opened
        self._slow_readers = slow_readers
        self._parts = [
            (
                f"\r\n--{boundary}\r\nContent-Type: {kind}\r\n"
                f"Content-Range: bytes {span.first}-{span.end - 1}/{size_bytes}\r\n\r\n".encode("ascii"),
                span,
            )
            for span in spans
        ]
        self._end = f"\r\n--{boundary}--\r\n".encode("ascii")
        self.content_length = len(self._end) + sum(len(head) + span.end - span.first for head, span in self._parts)

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        if self.prepared:
            return await super().prepare(request)
        with self._opened, self._slow_readers.watching(request.transport):
            writer = await super().prepare(request)
            for head, span in self._parts:
                await self.write(head)
                await self._send(span)
            await self.write_eof(self._end)
            return writer

    async def _send(self, span: Span) -> None:
        at = span.first
        while at < span.end:
            piece = await asyncio.to_thread(os.pread, self._opened.fileno(), min(PIECE_BYTES, span.end - at), at)
            if not piece:
                raise ConnectionError("the file has become shorter")
            await self.write(piece)
            at += len(piece)
