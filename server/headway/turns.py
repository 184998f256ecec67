"""Turns at longer pieces of work: one at a time, and then as much time for others as it took."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

PIECE = 25
"""Jobs that are encoded before the loop goes round: half a millisecond's work."""
LONGEST_REST_S = 1.0


class Turn:
    """One piece of work at a time, and between two a rest: as much time as the first one took, or several times as
    much, up to `LONGEST_REST_S`.
    """

    __slots__ = ("_clock_s", "_lock", "_next_s", "_sleep", "count")

    def __init__(self, clock_s: Callable[[], float], sleep: Callable[[float], Awaitable[None]]) -> None:
        self._clock_s = clock_s
        self._sleep = sleep
        self._lock = asyncio.Lock()
        self._next_s = 0.0
        """When the next piece of work may begin."""
        self.count = 0
        """How many have the turn or wait for it."""

    @asynccontextmanager
    async def taken(self, *, at_ease: int = 0, rest: float = 1.0) -> AsyncIterator[None]:
        """Wait for the turn, and have it within the block. The longest waiting comes first.

        There is no rest while no more than `at_ease` have the turn or wait for it. Otherwise it takes `rest` times as
        long as the block.
        """
        self.count += 1
        try:
            async with self._lock:
                if (rest_s := self._next_s - self._clock_s()) > 0:
                    await self._sleep(rest_s)
                began_s = self._clock_s()
                try:
                    yield
                finally:
                    ended_s = self._clock_s()
                    rests = self.count > at_ease
                    self._next_s = ended_s + (min(rest * (ended_s - began_s), LONGEST_REST_S) if rests else 0.0)
        finally:
            self.count -= 1


class Turns:
    """A turn for each owner.

    A page of 200 jobs takes milliseconds. Made side by side, the pages of one owner's 32 clients would leave all others
    a thirty-third of the event loop; one after the other without a rest, half of each turn of it.
    """

    def __init__(
        self,
        clock_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock_s = clock_s
        self._sleep = sleep
        self._turns: dict[str, Turn] = {}

    def __len__(self) -> int:
        return len(self._turns)

    def awaited(self, owner: str) -> bool:
        """Whether somebody waits for this owner's turn, which the caller has."""
        return self._turns[owner].count > 1

    @asynccontextmanager
    async def of(self, owner: str, *, at_ease: int = 0, rest: float = 1.0) -> AsyncIterator[None]:
        """Wait for this owner's turn, and have it within the block.

        While no more than `at_ease` of theirs have it or wait for it, the next one may begin at once: for work that
        leaves the loop to others every millisecond. The others wait `rest` times as long as the block took.
        """
        if (turn := self._turns.get(owner)) is None:
            turn = self._turns[owner] = Turn(self._clock_s, self._sleep)
        try:
            async with turn.taken(at_ease=at_ease, rest=rest):
                yield
        finally:
            if not turn.count:
                del self._turns[owner]


class CommonTurns:
    """One turn for all owners together. They alternate, however many pieces of work one of them has.

    At least half of the time is for other work, up to the longest rest.
    """

    def __init__(
        self,
        clock_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._turn = Turn(clock_s, sleep)
        self._owners: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def of(self, owner: str) -> AsyncIterator[None]:
        """Wait until it is this owner's turn, and have it within the block."""
        if (lock := self._owners.get(owner)) is None:
            lock = self._owners[owner] = asyncio.Lock()
        async with lock, self._turn.taken():
            yield
