"""A request's content, as it is read: decompressed in pieces, and counted as it grows.

aiohttp would decompress in its parser, in the event loop, whether anybody reads the body or not: 486 kB of gzip kept
the loop busy for 1.6 s after they had been refused. `Runner` switches that off. Here nothing is decompressed before
somebody reads it, no more than the reader takes, and the loop goes round after each piece.
"""

import asyncio
import zlib

from aiohttp import StreamReader, hdrs, web

from ..connections.limits import Connection
from ..problems import Problem

CODINGS = frozenset({"identity", "gzip", "deflate"})
READ_BYTES = 64 * 1024
"""aiohttp buffers twice as much of each body, and what has arrived with the last of it. With its default of 256 KiB, 60
files that arrived at once took 25 MiB more, and were no faster.
"""
RAW_BYTES = 16 * 1024
PIECE_BYTES = 64 * 1024
"""Decompressing as much takes a fifth of a millisecond."""
MEMBERS_PER_PIECE = 64
"""Gzip members without any content that are skipped before the loop goes round."""
MAX_LINE_BYTES = 8 * 1024
NOT_CONNECTED = "Connection closed."
"""What aiohttp's `RuntimeError` says if a request's connection was lost before its handler began to read."""
_DEFLATED = 8
"""The low half of a zlib stream's first byte (RFC 1950, 2.2)."""


def too_large(most: int) -> Problem:
    return Problem("too-large", f"At most {most:,} bytes are accepted.")


def coding_of(request: web.Request) -> str:
    """The body's content coding. Raises a 415 `Problem` for one that is not decoded (RFC 9110, 8.4 and 15.5.16).

    Several codings, in one header or in many, are refused like an unknown one: each could multiply the size a
    thousandfold.
    """
    if hdrs.CONTENT_ENCODING not in request.headers:  # nearly always
        return "identity"
    coding = ", ".join(request.headers.getall(hdrs.CONTENT_ENCODING)).strip().lower()
    if coding not in CODINGS:
        raise Problem(
            "unsupported-media-type",
            "Send the body uncompressed, or compressed with gzip or deflate.",
            headers={"Accept-Encoding": "gzip, deflate"},
        )
    return coding


class Inflater:
    """Decompresses one body, a piece at a time. Its methods raise `zlib.error`."""

    def __init__(self, coding: str) -> None:
        """`coding`: `gzip` (RFC 1952), or `deflate` (RFC 9110, 8.4.1.2, and without zlib's head, as some send it)."""
        self._gzip = coding == "gzip"
        self._stream = zlib.decompressobj(16 + zlib.MAX_WBITS) if self._gzip else None
        self._raw = b""
        self._full = False

    @property
    def has_more(self) -> bool:
        """Whether `piece` has something to do; otherwise it needs to be fed."""
        return bool(self._raw) or self._full

    def feed(self, raw: bytes) -> None:
        """Take what has arrived. For use while there is no more."""
        if self._stream is None:
            self._stream = zlib.decompressobj(zlib.MAX_WBITS if raw[0] & 15 == _DEFLATED else -zlib.MAX_WBITS)
        self._raw = raw

    def piece(self) -> bytes:
        """At most `PIECE_BYTES`; it may be empty even if there is more."""
        assert self._stream is not None  # noqa: S101 - it was fed
        for _ in range(MEMBERS_PER_PIECE):
            if self._stream.eof:
                if not self._gzip:
                    raise zlib.error("data after the end of the compressed stream")
                self._stream = zlib.decompressobj(16 + zlib.MAX_WBITS)
            made = self._stream.decompress(self._raw, PIECE_BYTES)
            self._raw = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail
            self._full = len(made) == PIECE_BYTES and not self._stream.eof
            if made or not self._raw:
                return made
        return b""

    def finish(self) -> None:
        """Check that the compressed stream is complete."""
        if self._stream is not None and not self._stream.eof:
            raise zlib.error("the compressed stream is not complete")


class Content:
    """The body of one request, without its content coding.

    It has what aiohttp's multipart reader calls: `read`, `readline`, `at_eof` and `unread_data`. Its methods raise
    `Problem`, and what aiohttp's stream raises.
    """

    def __init__(self, source: StreamReader, coding: str, most_bytes: int, most_lines: int = 0) -> None:
        """At most `most_bytes` are read, compressed or not, and `most_lines` by `readline`."""
        self._source = source
        self._inflater = None if coding == "identity" else Inflater(coding)
        self._most_bytes = most_bytes
        self._received_bytes = 0
        self.decoded_bytes = 0
        """What has been made of it, whether it was read or was too much."""
        self._lines_left = most_lines
        self._kept = b""
        self._offset = 0
        self._ended = False

    def at_eof(self) -> bool:
        """Whether everything has been read."""
        return self._ended and self._offset == len(self._kept)

    async def read(self, size: int = READ_BYTES) -> bytes:
        """Up to `size` bytes; none at the end."""
        piece = self._take_kept() or await self._next_piece()
        if len(piece) > size:
            self._kept, self._offset = piece, size
            return piece[:size]
        return piece

    async def readline(self, *, max_line_length: int | None = None) -> bytes:
        """The next line with its end; at the end of the body, what is left."""
        self._lines_left -= 1
        if self._lines_left < 0:
            raise Problem("malformed-request", "Too many lines stand outside the parts of the multipart body.")
        most = min(max_line_length or MAX_LINE_BYTES, MAX_LINE_BYTES)
        while True:
            end = self._kept.find(b"\n", self._offset, self._offset + most)
            if end >= 0:
                line = self._kept[self._offset : end + 1]
                self._offset = end + 1
                return line
            if len(self._kept) - self._offset >= most:
                raise Problem("malformed-request", f"A line outside the parts' contents has over {most:,} bytes.")
            piece = await self._next_piece()
            if not piece:
                return self._take_kept()
            self._kept, self._offset = self._kept[self._offset :] + piece, 0

    def unread_data(self, data: bytes) -> None:
        """Put `data` back: it is read next."""
        self._kept, self._offset = data + self._take_kept(), 0

    def _take_kept(self) -> bytes:
        kept = self._kept[self._offset :] if self._offset else self._kept
        self._kept, self._offset = b"", 0
        return kept

    async def _next_piece(self) -> bytes:
        """What comes next, counted; none at the end."""
        piece = await (self._received_piece() if self._inflater is None else self._inflated_piece(self._inflater))
        self.decoded_bytes += len(piece)
        self._ended = not piece
        if self.decoded_bytes > self._most_bytes:
            raise too_large(self._most_bytes)
        return piece

    async def _received_piece(self, most_bytes: int = READ_BYTES) -> bytes:
        """Raises `ConnectionError` if the client is gone."""
        try:
            return await self._source.read(most_bytes)
        except RuntimeError as error:
            if str(error) != NOT_CONNECTED:
                raise
            raise ConnectionResetError("the client had gone before its request was read") from error

    async def _inflated_piece(self, inflater: Inflater) -> bytes:
        try:
            while True:
                while inflater.has_more:
                    piece = inflater.piece()
                    await asyncio.sleep(0)  # others' turn
                    if piece:
                        return piece
                raw = await self._received_piece(RAW_BYTES)
                if not raw:
                    inflater.finish()
                    return b""
                self._received_bytes += len(raw)
                if self._received_bytes > self._most_bytes:
                    raise too_large(self._most_bytes)
                inflater.feed(raw)
        except zlib.error as error:
            raise Problem("malformed-request", f"The body cannot be decompressed: {error}") from None


def content_of(request: web.Request, most_bytes: int, most_lines: int = 0) -> Content:
    """The request's content. Raises a 415 `Problem` for a coding that is not decoded."""
    coding = coding_of(request)
    arrives_as_sent = isinstance(request.protocol, Connection)  # a program's own runner decompresses by itself
    return Content(request.content, coding if arrives_as_sent else "identity", most_bytes, most_lines)
