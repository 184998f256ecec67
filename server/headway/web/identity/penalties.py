"""Refusals at a pace: a client that is refused again and again gets its responses late, and its bodies are not read.

Refusing costs about as much as serving: a millisecond of the event loop, and for a megabyte of JSON a hundred. A client
that got its refusals at once could take all of the loop with them, within every limit on what is accepted.
"""

import asyncio
import math
import time
from collections.abc import Callable
from http import HTTPStatus

from aiohttp import web

from ..connections.limits import Connection
from ..problems import Problem
from .gate import has_key, sharer

AT_ONCE = 50
"""Refusals that a client gets at once."""
PER_S = 20
"""Further ones, a second."""
BYTES_EACH = 16 * 1024
"""So many bytes of a body that was read before it was refused count as one more refusal."""
LONGEST_S = 2.0
"""No response to a client with a key is later than that, unless very many wait. While it would be, the client's bodies
are refused unread.
"""
MOST_OWED_S = 10.0
"""No response at all is later, unless very many wait. An address that was cut off instead would be back at once."""
APART_S = 0.01
"""Between two responses of one sharer that were late. A thousand requests that came at once would be answered at once,
too, and so would those that come in their place: the event loop had no time for anything else twice a second.
"""
MAX_SHARERS = 50_000
MOST_HELD_BYTES = 64 * 1024 * 1024
"""What waits of one sharer: connections, and what has arrived of the bodies."""
HELD_BYTES_EACH = 16 * 1024
"""A connection with a request, apart from its body."""


EXCUSED = web.RequestKey("excused", bool)
"""In a request that was refused through no fault of its client: with a key, the refusal is neither counted nor late."""


class Pace:
    """When each sharer, an owner or an address, is due its next refusal: the generic cell rate algorithm (GCRA)."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic, max_sharers: int = MAX_SHARERS) -> None:
        self._clock_s = clock_s
        self._max_sharers = max_sharers
        self._due_s: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._due_s)

    def owed_s(self, sharer: str) -> float:
        """The seconds until a refusal of this sharer would be in time; 0 if it is."""
        return max(0.0, self._due_s.get(sharer, 0.0) - self._clock_s())

    def refuse(self, sharer: str, count: float, most_owed_s: float = MOST_OWED_S) -> float:
        """Count so many refusals. Returns how many seconds late the response has to be.

        Beyond `most_owed_s` they are not counted, so a client that keeps trying is not locked out longer.
        """
        now_s = self._clock_s()
        before_s = max(self._due_s.pop(sharer, 0.0), now_s - AT_ONCE / PER_S)
        due_s = before_s + count / PER_S
        self._due_s[sharer] = min(due_s, max(before_s, now_s + most_owed_s))  # the latest refused comes last
        if len(self._due_s) > self._max_sharers:
            del self._due_s[next(iter(self._due_s))]
        return max(0.0, due_s - now_s)


class Late:
    """The late responses of one sharer."""

    __slots__ = ("_last_s", "bytes")

    def __init__(self) -> None:
        self.bytes = 0
        """What waits for them."""
        self._last_s = 0.0

    def due_s(self, now_s: float, late_s: float) -> float:
        """When one more is due: so late, and some time after the one before."""
        self._last_s = max(now_s + late_s, self._last_s + APART_S)
        return self._last_s


class Penalties:
    """Delays refusals. There is one for each server."""

    def __init__(self, max_body_bytes: int, *, shared: bool) -> None:
        """`shared`: whether other machines can reach the server. If not, clients without a key are not delayed."""
        self._max_body_bytes = max_body_bytes
        self._shared = shared
        self._pace = Pace()
        self._waiting: dict[str, Late] = {}
        self._stopping = asyncio.Event()

    def check(self, request: web.Request) -> None:
        """Raises `Problem` if too many of this client's requests have just been refused for another body to be read."""
        if self._applies(request) and (owed_s := self._pace.owed_s(sharer(request))) > LONGEST_S:
            detail = "Many of your requests were refused; until some time has passed, no body is read."
            raise Problem("too-many-requests", detail, retry_after_s=math.ceil(owed_s - LONGEST_S))

    async def delay(self, request: web.Request, status: int) -> None:
        """Wait until this refusal is due. If too much waits, an address without a key is cut off instead."""
        known = has_key(request)
        if not self._applies(request) or (known and not _is_clients_fault(request, status)):
            return
        who = sharer(request)
        late_s = min(self._count(who, request, status), LONGEST_S if known else MOST_OWED_S)
        if not late_s:
            return
        waiting = self._waiting.get(who) or Late()
        held_bytes = HELD_BYTES_EACH + (0 if request.content.at_eof() else request.content.total_bytes)
        if waiting.bytes + held_bytes <= MOST_HELD_BYTES:
            self._waiting[who] = waiting
            await self._wait(who, waiting, late_s, held_bytes, request)
        elif not known and isinstance(request.protocol, Connection):
            request.protocol.cut()

    def _count(self, who: str, request: web.Request, status: int) -> float:
        """Count the refusal. Returns how late it has to be."""
        if not has_key(request):  # what it sends is hardly read
            return self._pace.refuse(who, 1)
        if status == HTTPStatus.TOO_MANY_REQUESTS:  # whatever there was of a body was not parsed
            return self._pace.refuse(who, 1, LONGEST_S)
        return self._pace.refuse(who, 1 + min(request.content.total_bytes, self._max_body_bytes) / BYTES_EACH)

    def _applies(self, request: web.Request) -> bool:
        return self._shared or has_key(request)

    async def _wait(self, who: str, waiting: Late, late_s: float, held_bytes: int, request: web.Request) -> None:
        """Wait, and receive nothing meanwhile: what arrives would be kept, and takes time."""
        now_s = time.monotonic()
        due_s = waiting.due_s(now_s, late_s)
        waiting.bytes += held_bytes
        paused = not request.content.is_eof()
        if paused:
            request.protocol.pause_reading()
        try:
            async with asyncio.timeout(due_s - now_s):
                await self._stopping.wait()
        except TimeoutError:
            pass
        finally:
            if paused:
                request.protocol.resume_reading()
            waiting.bytes -= held_bytes
            if not waiting.bytes:
                del self._waiting[who]

    async def stop(self, _app: web.Application) -> None:
        """At shutdown: nobody waits any longer."""
        self._stopping.set()


PENALTIES = web.AppKey("penalties", Penalties)


def _is_clients_fault(request: web.Request, status: int) -> bool:
    """Whether a request with a key was refused for what it sent, or because there were too many.

    A poll's 404 costs no more than its job's state. Of bodies that end with their connection, or that stall, nobody is
    at fault: that is how a client's network fails, and it is about to try again.
    """
    if status == HTTPStatus.REQUEST_TIMEOUT or request.get(EXCUSED, False):
        return False
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return True
    lost = request.transport is None and not request.content.is_eof()
    return request.body_exists and status < HTTPStatus.INTERNAL_SERVER_ERROR and not lost
