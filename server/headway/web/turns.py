"""Turns: each owner has one longer piece of work in progress, and their others wait for it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

PIECE = 25
"""Jobs that are encoded before the loop goes round: half a millisecond's work."""


class Turns:
    """One at a time for each owner.

    A page of 200 jobs takes milliseconds. Made side by side, the pages of one owner's 32 clients would leave all others
    a thirty-third of the event loop.
    """

    def __init__(self) -> None:
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}
        """By owner, each with how many have it or wait for it."""

    def __len__(self) -> int:
        return len(self._locks)

    def awaited(self, owner: str) -> bool:
        """Whether somebody waits for this owner's turn, which the caller has."""
        return self._locks[owner][1] > 1

    @asynccontextmanager
    async def of(self, owner: str) -> AsyncIterator[None]:
        """Wait for this owner's turn, and have it within the block. The longest waiting comes first."""
        lock, count = self._locks.get(owner) or (asyncio.Lock(), 0)
        self._locks[owner] = lock, count + 1
        try:
            async with lock:
                yield
        finally:
            _, count = self._locks[owner]
            if count == 1:
                del self._locks[owner]
            else:
                self._locks[owner] = lock, count - 1
