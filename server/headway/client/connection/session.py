"""One server, spoken to with patience: what did not arrive or has no room now is sent again, for a while."""

import math
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import JobTypeUnavailableError, ProblemError, ResultFailedError, ServerUnreachableError, problem_in
from .requests import Request
from .transport import Stream, Transport

if TYPE_CHECKING:
    import httpx

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
PASSING = frozenset({408, 429, 502, 503, 504})
"""Statuses that say nothing of the request itself: the same one may be accepted later."""
ANSWERED_OTHERWISE = frozenset({"too-many-streams", "too-many-waits"})
"""Problems that another kind of request avoids."""
NOT_MODIFIED = 304
LEAST_READ_S = 1.0
"""How long a response may take that is asked for at the last moment."""


class Deadline:
    """An instant, `None` for never."""

    def __init__(self, timeout_s: float | None) -> None:
        self._at_s = math.inf if timeout_s is None else time.monotonic() + timeout_s

    @property
    def left_s(self) -> float:
        """Seconds until then, 0 once it has passed."""
        return max(0.0, self._at_s - time.monotonic())


NEVER = Deadline(None)


class Patience:
    """The pauses between tries of one request: they grow, are jittered, and follow `Retry-After`."""

    def __init__(self, retry_for_s: float, deadline: Deadline) -> None:
        self._retry_for_s, self._deadline = retry_for_s, deadline
        self._until: Deadline | None = None
        self._next_s = FIRST_PAUSE_S

    def pause_s(self, retry_after_s: float | None = None) -> float | None:
        """Seconds until the next try; `None` if there should be none, because the time is up by then."""
        self._until = self._until or Deadline(self._retry_for_s)
        backoff_s = self._next_s * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
        self._next_s = min(self._next_s * 2, LONGEST_PAUSE_S)
        # Never before `Retry-After`, and not all in one instant.
        pause_s = backoff_s if retry_after_s is None else retry_after_s + min(backoff_s, retry_after_s / 10)
        return pause_s if pause_s < min(self._until.left_s, self._deadline.left_s) else None


class Session:
    """Sends requests through a transport, and raises what the server refuses."""

    def __init__(self, transport: Transport, retry_for_s: float) -> None:
        self.transport = transport
        self._retry_for_s = retry_for_s

    async def send(self, request: Request, deadline: Deadline = NEVER) -> "httpx.Response":
        """The response, if it is a 2xx or a 304. Every request must be safe to repeat.

        Lost connections, and refusals that pass, are tried again for `retry_for_s` seconds at most, never beyond the
        deadline. Raises `ProblemError`, `ServerUnreachableError` and `ClientClosedError`.
        """
        patience = Patience(self._retry_for_s, deadline)
        lost = False
        while True:
            try:
                response = await self.transport.send(_within(request, deadline))
                if response.is_success or response.status_code == NOT_MODIFIED:
                    return response
                raise problem_in(response)
            except ServerUnreachableError:
                lost = True
                pause_s = patience.pause_s()
                if pause_s is None:
                    raise
            except ProblemError as error:
                error.repeated = lost
                pause_s = patience.pause_s(error.retry_after_s) if passes(error) else None
                if pause_s is None:
                    raise
            await self.transport.pause(pause_s)

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[Stream]:
        """A response that is read as it arrives. It is tried once; raises what `send` raises."""
        async with self.transport.stream(request) as stream:
            if not stream.response.is_success:
                await stream.read()
                raise problem_in(stream.response)
            yield stream

    def patience(self) -> Patience:
        """For a caller that tries again itself."""
        return Patience(self._retry_for_s, NEVER)


def passes(error: ProblemError) -> bool:
    """Whether the same request may be accepted later."""
    if isinstance(error, ResultFailedError | JobTypeUnavailableError) or error.type in ANSWERED_OTHERWISE:
        return False
    return error.status in PASSING


def _within(request: Request, deadline: Deadline) -> Request:
    """The request, with a read time-out that does not go far beyond the deadline."""
    left_s = deadline.left_s + LEAST_READ_S
    return request if left_s >= request.read_timeout_s else replace(request, read_timeout_s=left_s)
