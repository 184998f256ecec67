"""The open streams: their limits, heartbeats, lost clients and stalled readers."""

import asyncio
import random
import time
from collections import Counter
from typing import Any, NamedTuple

import structlog

from ...errors import TooManyStreamsError
from ...loops import Loop, Loops
from ...settings import LONGEST_SILENCE_S
from .events import KEEP_ALIVE
from .response import EventStream, Frame

LONGEST_PAUSE_S = 1.0
CHECKS_PER_LIMIT = 12
PARTS = 8
SHUTDOWN_DRAIN_S = 0.3
RETRY_AFTER_S = (5, 15)

log = structlog.get_logger(__name__)


class StreamLimits(NamedTuple):
    """The numbers that open streams keep to."""

    most: int
    most_per_client: int
    most_per_owner: int
    heartbeat_s: float
    stall_timeout_s: float


class OpenStreams:
    """The register of the open streams, and the one loop that checks all of them, instead of a timer for each."""

    def __init__(self, limits: StreamLimits) -> None:
        self._most = limits.most
        self._most_per_client = limits.most_per_client
        self._most_per_owner = limits.most_per_owner
        self._stall_timeout_s = limits.stall_timeout_s
        self._every_s = min(
            LONGEST_PAUSE_S, limits.heartbeat_s / CHECKS_PER_LIMIT, self._stall_timeout_s / CHECKS_PER_LIMIT
        )
        # Streams are checked at intervals, and none may be silent for too long between two checks.
        self._heartbeat_s = min(limits.heartbeat_s, LONGEST_SILENCE_S - 2 * self._every_s)
        self._open: dict[EventStream, tuple[str, str | None]] = {}
        self._of_client: Counter[str] = Counter()
        self._of_owner: Counter[str | None] = Counter()
        self._sent_before = 0
        self._skipped_before = 0
        self._all_ended = asyncio.Event()
        self._loop: Loop | None = None

    def __len__(self) -> int:
        return len(self._open)

    @property
    def frames_sent(self) -> int:
        """By all streams, ended ones included; a frame may contain several events."""
        return self._sent_before + sum(stream.frames_sent for stream in self._open)

    @property
    def frames_skipped(self) -> int:
        """Frames that were not sent because the reader was behind."""
        return self._skipped_before + sum(stream.frames_skipped for stream in self._open)

    def start(self, loops: Loops) -> None:
        self._loop = loops.start("open-streams", self._check)

    async def stop(self) -> None:
        """Let every stream end in order; cut those whose reader is stalled."""
        for stream in self._open:
            stream.wake()
        if self._open:
            self._all_ended.clear()
            try:
                async with asyncio.timeout(SHUTDOWN_DRAIN_S):
                    await self._all_ended.wait()
            except TimeoutError:
                for stream in list(self._open):
                    stream.cut()
        if self._loop is not None:
            await self._loop.stop()

    def enter(self, stream: EventStream, client: str, owner: str | None) -> None:
        """Count the stream for its client's address and, with a key, its owner. Raises `TooManyStreamsError`."""
        if len(self._open) >= self._most:
            raise _too_many(f"The limit of {self._most:,} open streams is reached.")
        if self._of_client[client] >= self._most_per_client:
            raise _too_many(f"The limit of {self._most_per_client:,} open streams per client is reached.")
        if owner is not None and self._of_owner[owner] >= self._most_per_owner:
            raise _too_many(f"The limit of {self._most_per_owner:,} open streams per owner is reached.")
        self._open[stream] = client, owner
        self._of_client[client] += 1
        self._of_owner[owner] += 1

    def leave(self, stream: EventStream) -> None:
        client, owner = self._open.pop(stream)
        self._sent_before += stream.frames_sent
        self._skipped_before += stream.frames_skipped
        _one_less(self._of_client, client)
        _one_less(self._of_owner, owner)
        if not self._open:
            self._all_ended.set()

    async def _check(self) -> None:
        """Check all streams, a part at a time, so that ten thousand heartbeats are not sent at once."""
        everybody = list(self._open)
        size = len(everybody) // PARTS + 1
        for first in range(0, PARTS * size, size):
            await asyncio.sleep(self._every_s / PARTS)
            now_s = time.monotonic()
            heartbeat = Frame(KEEP_ALIVE)
            for stream in everybody[first : first + size]:
                self._check_one(stream, heartbeat, now_s)

    def _check_one(self, stream: EventStream, heartbeat: Frame, now_s: float) -> None:
        if stream.lost:
            stream.wake()
            return
        stalled_s = stream.stalled_s(now_s)
        if stalled_s is None:
            if now_s - stream.said_s >= self._heartbeat_s:
                stream.offer(heartbeat)
        elif stalled_s >= self._stall_timeout_s:
            log.info("a stream was cut off: its client is stalled", stalled_s=round(stalled_s, 1))
            stream.cut()


def _one_less(counter: Counter[Any], key: str | None) -> None:
    """Drop the key when its count is 0."""
    counter[key] -= 1
    if not counter[key]:
        del counter[key]


def _too_many(detail: str) -> TooManyStreamsError:
    return TooManyStreamsError(detail, random.randint(*RETRY_AFTER_S))  # noqa: S311 - jitter
