"""Reading a large JSON text that is an object with one list, an item at a time.

Parsing 16 MiB at once would hold the interpreter for seconds, in a thread too. Here no step parses more than a window
or one item, and the values of an item can be dropped when the next one is read.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from json import JSONDecodeError
from typing import Any, NamedTuple

from ...turns import Turn
from ..problems import Problem
from .strict_json import part_at

WINDOW_BYTES = 16 * 1024
"""How much is parsed at once in the event loop: two milliseconds' work at most, whatever is in it."""
_NO_SPACE = re.compile(r"[^ \t\n\r]")
_COMMA = re.compile(r"[ \t\n\r]*,[ \t\n\r]*(?![ \t\n\r]|\Z)")
"""One behind which a value begins, or whatever stands in its place."""
_LAST_CHARS = 16
"""Where a text is cut off, its error is in the last characters (the longest token there is an escaped pair of
surrogates), or a string without an end."""


class Item(NamedTuple):
    """A value of the list, and its text. With a `problem`, the value is out of bounds."""

    value: Any
    text: str
    problem: Problem | None


async def read_items(
    body: bytes, name: str, most_bytes: int, threads: asyncio.Semaphore, turn: Turn | None = None
) -> AsyncIterator[list[Item]]:
    """The items of `{"<name>": […]}`, each with `most_bytes` at most: as many at a time as one step parses.

    Raises `Problem` at the point where the body is something else. `threads`: held while a thread parses a large item.
    `turn`: taken for each large item, so that as much time is between two as the first one took.
    """
    window = _Window(body, most_bytes, threads, turn or Turn(time.monotonic, asyncio.sleep))
    await _enter_list(window, name)
    if await window.peek() != "]":
        yield [await window.item()]
        while await window.peek() == ",":
            yield window.next_items() or [await window.next_item()]
    await window.expect("]", "Expecting ',' delimiter")
    if await window.peek() == ",":
        raise _other_field(name)
    await window.expect("}", "Expecting ',' delimiter")
    if await window.peek():
        raise window.malformed("Extra data")


async def _enter_list(window: "_Window", name: str) -> None:
    if await window.peek() not in ("{", ""):
        raise Problem("validation-failed", "The body must be a JSON object.", errors=[("", "must be an object")])
    await window.expect("{", "Expecting value")
    if await window.peek() == "}":
        raise Problem("validation-failed", errors=[(f"/{name}", "Field required")])
    if await window.peek() != '"':
        raise window.malformed("Expecting property name enclosed in double quotes")
    first = await window.item()
    await window.expect(":", "Expecting ':' delimiter")
    if first.value != name:
        raise _other_field(name)
    if await window.peek() not in ("[", ""):
        raise Problem("validation-failed", errors=[(f"/{name}", "must be a list")])
    await window.expect("[", "Expecting value")


def _other_field(name: str) -> Problem:
    return Problem("validation-failed", errors=[("", f"must have no other field than {name}")])


class _Window:
    """The part of a body that is decoded, and a place in it. It moves on by itself."""

    def __init__(self, body: bytes, most_bytes: int, threads: asyncio.Semaphore, turn: Turn) -> None:
        self._body = body
        self._most_bytes = most_bytes
        self._threads = threads
        self._turn = turn
        self._start = self._end = 0
        self._text, self._at = "", 0

    async def peek(self) -> str:
        """The next character that is not whitespace; empty at the end.

        The event loop goes round between two windows: a few compressed kilobytes can be 16 MiB of whitespace.
        """
        while True:
            if found := _NO_SPACE.search(self._text, self._at):
                self._at = found.start()
                return found[0]
            self._at = len(self._text)
            if self._end == len(self._body):
                return ""
            await asyncio.sleep(0)
            self._move(WINDOW_BYTES)

    async def expect(self, character: str, otherwise: str) -> None:
        """Go on behind this character. Raises a `Problem` that says `otherwise` if another one is next."""
        if await self.peek() != character:
            raise self.malformed(otherwise)
        self._at += 1

    async def item(self) -> Item:
        """The value that begins here. Raises `Problem` if there is none, or a larger one than may be."""
        await self.peek()
        item = self._whole_item()
        if item is None and self._at:
            self._move(WINDOW_BYTES)
            item = self._whole_item()
        if item is None:
            async with self._turn.taken(), self._threads:
                item = await asyncio.to_thread(self._large_item)
            self._move(0)
        return item

    async def next_item(self) -> Item:
        """`item`, behind the comma that is here, which does not end within the window as it is now."""
        self._at += 1
        await self.peek()
        self._move(WINDOW_BYTES)
        return await self.item()

    def next_items(self) -> list[Item]:
        """Those values behind the comma here, and behind those that follow, that end within the window."""
        items = []
        while behind := _COMMA.match(self._text, comma := self._at):
            self._at = behind.end()
            item = self._whole_item()
            if item is None:
                self._at = comma
                break
            items.append(item)
        return items

    def _large_item(self) -> Item:
        item = None
        for size_bytes in (4 * WINDOW_BYTES, self._most_bytes + 1):  # most large items are not that large
            if item is None and size_bytes <= self._most_bytes + 1:
                self._move(size_bytes)
                item = self._whole_item()
        if item is None:
            raise Problem("too-large", f"At most {self._most_bytes:,} bytes are accepted for each of them.")
        return item

    def _whole_item(self) -> Item | None:
        """The value that begins here; `None` if the window may end before it does."""
        text, start = self._text, self._at
        more = self._end < len(self._body)
        try:
            value, end, problem = part_at(text, start)
        except JSONDecodeError as error:
            if more and (error.msg.startswith("Unterminated") or error.pos >= len(text) - _LAST_CHARS):
                return None
            raise self.malformed(error.msg, error.pos) from None
        if more and end == len(text):
            return None
        self._at = end
        return Item(value, text[start:end], problem)

    def malformed(self, why: str, at: int | None = None) -> Problem:
        """The body is no JSON here, or `at` another character of the window."""
        place = self._start + len(self._text[: self._at if at is None else at].encode())
        return Problem("malformed-request", f"The body is not JSON: {why} (byte {place + 1:,}).")

    def _move(self, size_bytes: int) -> None:
        """Let the window begin here. Raises `Problem` if it is not UTF-8."""
        self._start += len(self._text[: self._at].encode())
        end = min(self._start + size_bytes, len(self._body))
        for _ in range(3):  # a character has four bytes at most
            if end < len(self._body) and self._body[end] & 0xC0 == 0x80:  # noqa: PLR2004 - in the middle of one
                end -= 1
        try:
            self._text = self._body[self._start : end].decode()
        except UnicodeDecodeError:
            raise Problem("malformed-request", "The body is not UTF-8.") from None
        self._end, self._at = end, 0
