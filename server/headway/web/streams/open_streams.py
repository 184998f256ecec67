"""The streams that are open: how many there may be, who has gone, who takes nothing, who must hear something."""

import asyncio
import random
import time
from collections import Counter
from typing import Any

import structlog

from ...errors import TooManyStreamsError
from ...loops import Loop, Loops
from ...settings import LONGEST_SILENCE_S, Settings
from .response import EventStream, Frame

LOOK_AT_LEAST_EVERY_S = 1.0
LOOKS_PER_LIMIT = 12
PARTS = 8
SHUTDOWN_DRAIN_S = 0.3
RETRY_AFTER_S = (5, 15)
KEEP_ALIVE = b": keep-alive\n\n"

log = structlog.get_logger(__name__)


class OpenStreams:
    """A register of the open streams, and the one loop that looks after all of them: no timer for each."""

    def __init__(self, settings: Settings) -> None:
        self._most = settings.max_streams
        self._most_per_client = settings.max_streams_per_client
        self._most_per_owner = settings.max_streams_per_owner
        self._stall_timeout_s = settings.stream_stall_timeout_s
        self._every_s = min(
            LOOK_AT_LEAST_EVERY_S, settings.heartbeat_s / LOOKS_PER_LIMIT, self._stall_timeout_s / LOOKS_PER_LIMIT
        )
        # A stream is looked at now and then, and must not be found silent for too long already.
        self._heartbeat_s = min(settings.heartbeat_s, LONGEST_SILENCE_S - 2 * self._every_s)
        self._open: dict[EventStream, tuple[str, str | None]] = {}
        self._of_client: Counter[str] = Counter()
        self._of_owner: Counter[str | None] = Counter()
        self._sent_before = 0
        self._skipped_before = 0
        self._everybody_left = asyncio.Event()
        self._loop: Loop | None = None

    def __len__(self) -> int:
        return len(self._open)

    @property
    def frames_sent(self) -> int:
        """By all streams, those that have ended too; a frame may hold several events."""
        return self._sent_before + sum(stream.frames_sent for stream in self._open)

    @property
    def frames_skipped(self) -> int:
        """What readers that were behind have not been sent."""
        return self._skipped_before + sum(stream.frames_skipped for stream in self._open)

    def start(self, loops: Loops) -> None:
        self._loop = loops.start("open-streams", self._look_after)

    async def stop(self) -> None:
        """Let every stream write its end; cut those whose reader takes nothing."""
        for stream in self._open:
            stream.wake()
        if self._open:
            self._everybody_left.clear()
            try:
                async with asyncio.timeout(SHUTDOWN_DRAIN_S):
                    await self._everybody_left.wait()
            except TimeoutError:
                for stream in list(self._open):
                    stream.cut()
        if self._loop is not None:
            await self._loop.stop()

    def enter(self, stream: EventStream, client: str, owner: str | None) -> None:
        """Count it for an address, and for an owner if there is one. Raises `TooManyStreamsError` if there are as many
        as there may be.
        """
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
            self._everybody_left.set()

    async def _look_after(self) -> None:
        """All streams, a part of them at a time: ten thousand heartbeats are not said in one go."""
        everybody = list(self._open)
        size = len(everybody) // PARTS + 1
        for first in range(0, PARTS * size, size):
            await asyncio.sleep(self._every_s / PARTS)
            now_s = time.monotonic()
            heartbeat = Frame(KEEP_ALIVE)
            for stream in everybody[first : first + size]:
                self._look_at(stream, heartbeat, now_s)

    def _look_at(self, stream: EventStream, heartbeat: Frame, now_s: float) -> None:
        if stream.lost:
            stream.wake()
            return
        stalled_s = stream.stalled_s(now_s)
        if stalled_s is None:
            if now_s - stream.said_s >= self._heartbeat_s:
                stream.offer(heartbeat)
        elif stalled_s >= self._stall_timeout_s:
            log.info("a stream was cut, its reader takes nothing", stalled_s=round(stalled_s, 1))
            stream.cut()


def _one_less(counter: Counter[Any], key: str | None) -> None:
    """Whoever has none left is not kept."""
    counter[key] -= 1
    if not counter[key]:
        del counter[key]


def _too_many(detail: str) -> TooManyStreamsError:
    return TooManyStreamsError(detail, random.randint(*RETRY_AFTER_S))  # noqa: S311 - not all return in one instant
