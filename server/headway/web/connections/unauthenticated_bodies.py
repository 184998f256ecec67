"""Bodies from clients that have shown no key: small, soon, and few at once."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from ..problems import Problem

MAX_BYTES = 16 * 1024
LONGEST_S = 10.0
"""For the whole body. One that arrives steadily, but slowly, would hold its connection for ever."""
MAX_PER_ADDRESS = 8
MAX_IN_ALL = 200


class UnauthenticatedBodies:
    """Those that are arriving now, counted by address."""

    def __init__(self, longest_s: float) -> None:
        self._longest_s = min(longest_s, LONGEST_S)
        self._by_address: Counter[str] = Counter()

    @asynccontextmanager
    async def receiving(self, request: web.Request, address: str) -> AsyncIterator[None]:
        """Within this block the request's body is read. Raises `Problem` if too many are, or if it takes too long."""
        if request.content.is_eof():  # it came with the head
            yield
            return
        if self._by_address[address] >= MAX_PER_ADDRESS:
            raise Problem(
                "too-many-requests",
                "Your address is sending too many requests at once.",
                retry_after_s=int(LONGEST_S),
            )
        if self._by_address.total() >= MAX_IN_ALL:
            raise Problem("too-many-connections", retry_after_s=int(LONGEST_S))
        self._by_address[address] += 1
        try:
            async with asyncio.timeout(self._longest_s):
                yield
        except TimeoutError:
            raise Problem("body-timeout", f"The body did not arrive within {self._longest_s:g} s.") from None
        finally:
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]
