"""Request bodies that are arriving: how many uploads, and how much text in memory, one owner may have at once."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

from aiohttp import StreamReader

from ..problems import Problem

MAX_UPLOADS = 100
"""Each has a directory and an open file, and its writes share a few threads with those of all others."""
MAX_TEXT_BYTES = 64 * 1024 * 1024
ROOM_WAIT_S = 4.0
"""How long a large body waits, unread, for room: clients give up writing after five seconds (httpx) or later."""
RETRY_AFTER_S = (5, 15)


class ArrivingBodies:
    """The bodies being received now. A sharer is an owner or, without a key, an address."""

    def __init__(self, max_body_bytes: int) -> None:
        """`max_body_bytes`: how large one body may be, however little memory an owner would get otherwise."""
        self.max_text_bytes = max(MAX_TEXT_BYTES, max_body_bytes)
        self.contents: set[StreamReader] = set()
        self._uploads: Counter[str] = Counter()
        self._text_bytes: Counter[str] = Counter()
        self._freed: dict[str, asyncio.Event] = {}
        """Of those sharers of whom a body waits for room."""

    @property
    def uploads(self) -> int:
        """How many uploads are under way."""
        return self._uploads.total()

    @contextmanager
    def receiving(self, content: StreamReader) -> Iterator[None]:
        """Within this block the body is read, and abandoned if it stalls or the server stops."""
        self.contents.add(content)
        try:
            yield
        finally:
            self.contents.discard(content)

    @contextmanager
    def upload(self, sharer: str) -> Iterator[None]:
        """Within this block a form is received. Raises `Problem` if this sharer has too many under way."""
        if self._uploads[sharer] >= MAX_UPLOADS:
            raise _too_many(f"The limit of {MAX_UPLOADS} uploads at once is reached.")
        self._uploads[sharer] += 1
        try:
            yield
        finally:
            _less(self._uploads, sharer, 1)

    @contextmanager
    def text(self, sharer: str) -> Iterator[Callable[[int], None]]:
        """Within this block text is kept in memory: the function counts more bytes of it before they are kept.

        It raises `Problem` if this sharer's requests would keep too much together.
        """
        kept_bytes = 0

        def count(more_bytes: int) -> None:
            nonlocal kept_bytes
            if self._text_bytes[sharer] + more_bytes > self.max_text_bytes:
                raise _too_many(f"The limit of {self.max_text_bytes:,} bytes in bodies that arrive at once is reached.")
            self._text_bytes[sharer] += more_bytes
            kept_bytes += more_bytes

        try:
            yield count
        finally:
            _less(self._text_bytes, sharer, kept_bytes)
            if (freed := self._freed.pop(sharer, None)) is not None:
                freed.set()

    @asynccontextmanager
    async def announced_text(self, sharer: str, length: int) -> AsyncIterator[Callable[[int], None]]:
        """Like `text`, for a body whose length the client has sent: waits until there is room for all of it.

        Meanwhile nothing of it is read, so the client cannot go on sending. Were it refused, the rest would have to be
        received nevertheless, or the client could not read why.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(ROOM_WAIT_S):
                while self._text_bytes[sharer] + length > self.max_text_bytes:
                    await self._freed.setdefault(sharer, asyncio.Event()).wait()
        with self.text(sharer) as count:
            count(length)
            left = length

            def further(more_bytes: int) -> None:
                nonlocal left
                counted = min(left, more_bytes)
                left -= counted
                if more_bytes > counted:  # it was compressed
                    count(more_bytes - counted)

            yield further


def _less(counter: Counter[str], key: str, by: int) -> None:
    """Drop the key when its count is 0."""
    counter[key] -= by
    if not counter[key]:
        del counter[key]


def _too_many(detail: str) -> Problem:
    return Problem("too-many-requests", detail, retry_after_s=random.randint(*RETRY_AFTER_S))  # noqa: S311 - jitter
