"""The fan-out of one job's streams: a changed job is read and encoded once, and sent to all its watchers without a task
switch for each. The states of a watcher are drawn in this folder's `__init__`.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol

import structlog

from ...clock import utc_now
from ...domain.jobs import Job, LiveJob, Status
from ...errors import HeadwayError, JobNotFoundError
from ...loops import Loop, Loops
from ...ports.events import Bell, EventHub, Listener
from ...ports.jobs import Reader
from ...representation import Encoder
from .events import gone_event, log_event, state_event
from .response import Frame

LISTEN_S = 60.0
LOG_PAGE = 500
FRAMES_AT_ONCE = 1_000
"""Frames that are sent before others have their turn: ten milliseconds' work, and as many as a batch of progress has at
most. It is counted, and not timed: of a batch that was cut in two whenever the process was held up, the publisher's
next batch overtook the second half.
"""
NEVER = 2**63

log = structlog.get_logger(__name__)


class Outlet(Protocol):
    """What the fan-out needs from a watcher's stream (`EventStream`)."""

    def offer(self, frame: Frame) -> bool:
        """Send a frame immediately; false, and nothing is sent, if the reader is behind or gone."""
        ...

    def wake(self) -> None:
        """Wake the watcher's own task."""
        ...


class Watcher:
    """One stream of one job, which has been sent the history up to `cursor` and the state up to `version`.

    While it is `level` both are the channel's, and its task sleeps. `ended`: nothing will follow.
    """

    __slots__ = ("cursor", "ended", "level", "outlet", "version")

    def __init__(self, outlet: Outlet, cursor: int = 0) -> None:
        self.outlet = outlet
        self.cursor = cursor
        self.version = 0
        self.level = False
        self.ended = False


Lines = Sequence[tuple[int, bytes]]
"""Log lines as events, by `seq`."""

_Make = Callable[[int, int], bytes]


def news(job: Job, data: bytes, lines: Lines, cursor: int, version: int) -> bytes:
    """The new events of a job for a watcher at this `cursor` and `version`.

    `data` is the job's representation. The state has an id if it is the watcher's first or has changed; a state that is
    not newer is left out.
    """
    state = b""
    if job.version > version:
        with_id = job.state_seq > cursor or version == 0
        state = state_event(data, job.last_seq if with_id else None)
    return b"".join([*(event for seq, event in lines if seq > cursor), state]) if lines else state


class Channel:
    """The watchers of one job that are level or ahead. No method awaits."""

    __slots__ = ("_ahead", "_level", "_recorded", "again", "busy", "cursor", "job_id", "open", "owner", "version")

    def __init__(self, job_id: str, owner: str) -> None:
        self.job_id = job_id
        self.owner = owner
        self.cursor = 0
        self.version = 0
        self.open = 0
        self.busy = False
        self.again = False
        self._recorded: Job | None = None
        """As the job was recorded when it was published last. While that is still so, only ticks change it."""
        self._level: dict[Outlet, Watcher] = {}
        self._ahead: dict[Outlet, Watcher] = {}

    def join(self, watcher: Watcher) -> bool:
        """Make a watcher level, or ahead until the channel is there too; false if it must catch up first."""
        if watcher.cursor < self.cursor or watcher.version < self.version:
            return False
        if not self._level and not self._ahead:
            self.cursor, self.version = watcher.cursor, watcher.version
        exact = watcher.cursor == self.cursor and watcher.version == self.version
        (self._level if exact else self._ahead)[watcher.outlet] = watcher
        watcher.level = True
        return True

    def drop(self, watcher: Watcher) -> None:
        """The watcher has gone."""
        self._level.pop(watcher.outlet, None)
        self._ahead.pop(watcher.outlet, None)

    @property
    def waiting(self) -> bool:
        """Whether anybody receives what is published."""
        return bool(self._level or self._ahead)

    def publish(self, job: Job, data: bytes, lines: Lines = (), recorded: Job | None = None) -> None:
        """Send what is new to every watcher; a terminal state ends them. `recorded` is that of a `LiveJob`."""
        self._recorded = recorded
        if self._level:
            self._share(news(job, data, lines, self.cursor, self.version))
        if self._ahead:
            self._hand_to_ahead(lambda cursor, version: news(job, data, lines, cursor, version))
        self.cursor = max(self.cursor, job.last_seq)
        self.version = max(self.version, job.version)
        if self._ahead:
            self._settle()
        if job.terminal:
            self._end()

    def only_ticked(self, live: LiveJob) -> bool:
        """Whether `publish_tick` will do: only ticks have changed the job, and all watchers are level."""
        return live.recorded is self._recorded and bool(self._level) and not self._ahead

    def publish_tick(self, version: int, data: bytes) -> None:
        """Send the state after a tick to every watcher."""
        if version > self.version:
            self._share(state_event(data))
            self.version = version

    def publish_lines(self, lines: Lines) -> None:
        """A page of many log lines, before the state that includes them."""
        self._hand_out(lambda cursor, _: b"".join(event for seq, event in lines if seq > cursor))
        self.cursor = max(self.cursor, lines[-1][0])
        for watcher in self._ahead.values():
            watcher.cursor = max(watcher.cursor, lines[-1][0])

    def depart(self, last: Job | None, data: bytes) -> None:
        """The job was deleted: send its last state, if it was not sent, then `gone`, and end the watchers."""
        gone = gone_event(self.job_id)
        self._hand_out(lambda cursor, version: (news(last, data, (), cursor, version) if last else b"") + gone)
        self.cursor = self.version = NEVER  # a watcher that has not joined yet must read the store itself
        self._end()

    def scatter(self) -> None:
        """Hand all watchers back to their own tasks: the job could not be read."""
        for watcher in [*self._level.values(), *self._ahead.values()]:
            self._leave_behind(watcher)

    def _hand_out(self, make: _Make) -> None:
        if self._level:
            self._share(make(self.cursor, self.version))
        self._hand_to_ahead(make)

    def _share(self, text: bytes) -> None:
        """Send to all level watchers one frame."""
        if not text:
            return
        frame = Frame(text)
        behind: list[Watcher] = []
        for outlet, watcher in self._level.items():
            if not outlet.offer(frame):
                behind.append(watcher)
        for watcher in behind:
            self._leave_behind(watcher)

    def _hand_to_ahead(self, make: _Make) -> None:
        for watcher in list(self._ahead.values()):
            text = make(watcher.cursor, watcher.version)
            if text and not watcher.outlet.offer(Frame(text)):
                self._leave_behind(watcher)

    def _leave_behind(self, watcher: Watcher) -> None:
        if watcher.outlet in self._level:
            watcher.cursor, watcher.version = self.cursor, self.version
        self.drop(watcher)
        watcher.level = False
        watcher.outlet.wake()

    def _settle(self) -> None:
        """Watchers that were ahead are level now, unless they are still ahead of this change."""
        for watcher in list(self._ahead.values()):
            watcher.cursor = max(watcher.cursor, self.cursor)
            watcher.version = max(watcher.version, self.version)
            if watcher.cursor == self.cursor and watcher.version == self.version:
                self._level[watcher.outlet] = self._ahead.pop(watcher.outlet)

    def _end(self) -> None:
        for watcher in [*self._level.values(), *self._ahead.values()]:
            watcher.ended = True
            watcher.outlet.wake()
        self._level.clear()
        self._ahead.clear()


class FanOut:
    """Listens to all bells while any job is watched, and publishes to the channels."""

    def __init__(self, store: Reader, hub: EventHub, encoder: Encoder) -> None:
        self._store = store
        self._hub = hub
        self._encoder = encoder
        self._channels: dict[str, Channel] = {}
        self._listener: Listener | None = None
        self._wanted = asyncio.Event()
        self._loop: Loop | None = None

    def start(self, loops: Loops) -> None:
        self._loop = loops.start("fan-out", self._turn, until=lambda: self._hub.closed)

    async def stop(self) -> None:
        if self._loop is not None:
            await self._loop.stop()

    def enter(self, job_id: str, owner: str) -> Channel:
        """The job's channel, which is notified of every change from now on. The caller must `leave` it."""
        if self._listener is None:
            self._listener = self._hub.listen(Bell.CHANGED)
            self._wanted.set()
        channel = self._channels.get(job_id)
        if channel is None:
            channel = self._channels[job_id] = Channel(job_id, owner)
        channel.open += 1
        return channel

    def leave(self, channel: Channel, watcher: Watcher) -> None:
        channel.drop(watcher)
        channel.open -= 1
        if not channel.open:
            del self._channels[channel.job_id]

    async def _turn(self) -> None:
        if self._listener is None:
            self._wanted.clear()
            await self._wanted.wait()
        else:
            await self._publish_rung(self._listener)

    async def _publish_rung(self, listener: Listener) -> None:
        sent = 0
        for job_id in await listener.wait(LISTEN_S):
            channel = self._channels.get(job_id)
            if channel is None:
                continue
            sent += channel.open
            if channel.busy:
                channel.again = True
            elif self._advance(channel):
                channel.busy = True
                self._spawn(f"history:{job_id}", self._read_on(channel))
            if sent >= FRAMES_AT_ONCE:
                await asyncio.sleep(0)
                sent = 0
        if not self._channels:
            listener.close()
            self._listener = None

    def _spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        assert self._loop is not None  # noqa: S101 - called by a turn of the loop
        self._loop.spawn(name, work)

    def _advance(self, channel: Channel) -> bool:
        """Publish a job from memory; true if the store must be read for it."""
        try:
            live = self._store.live(channel.owner, channel.job_id)
            if live is not None and channel.only_ticked(live):
                channel.publish_tick(live.version, self._encoder.live(live))
                return False
            job = self._store.held(channel.owner, channel.job_id)
            if job is None:
                return True
            waiting = channel.waiting
            if waiting and (job.status is Status.QUEUED or _lines_missing(job, channel.cursor)):
                return True
            data = self._encoder.job(job, None) if waiting else b""
            channel.publish(job, data, recorded=None if live is None else live.recorded)
        except Exception as error:  # noqa: BLE001 - whatever it is, the others' channels go on
            self._end_round(channel, error)
        return False

    async def _read_on(self, channel: Channel) -> None:
        """Publish with log lines or a queue position, which are read from the store."""
        try:
            while await self._publish_history(channel) or channel.again:
                pass
        except Exception as error:  # noqa: BLE001 - whatever it is, the others' channels go on
            self._end_round(channel, error)
        finally:
            channel.busy = False

    async def _publish_history(self, channel: Channel) -> bool:
        """Publish a page of lines, the last one with the state; true if there are more."""
        channel.again = False
        job = await self._store.get(channel.owner, channel.job_id)
        found = await self._store.logs(job.id, channel.cursor, job.last_seq, LOG_PAGE)
        lines = [(line.seq, log_event(line)) for line in found]
        if len(lines) == LOG_PAGE:
            channel.publish_lines(lines)
            return True
        position = await self._store.queue_position(job, utc_now())
        channel.publish(job, self._encoder.job(job, position), lines)
        return False

    def _end_round(self, channel: Channel, error: Exception) -> None:
        """A job that cannot be published was deleted, or its watchers must read it themselves."""
        if isinstance(error, JobNotFoundError):
            self._depart(channel)
            return
        if isinstance(error, HeadwayError):
            log.warning("a watched job cannot be read", job_id=channel.job_id, reason=str(error))
        else:
            log.error("a watched job could not be published", job_id=channel.job_id, exc_info=error)
        channel.scatter()

    def _depart(self, channel: Channel) -> None:
        last = self._store.departed(channel.owner, channel.job_id)
        channel.depart(last, b"" if last is None else self._encoder.job(last, None))


def _lines_missing(job: Job, cursor: int) -> bool:
    """Whether there may be a log line after `cursor`; the newest state change is not one."""
    return job.last_seq - cursor > (job.state_seq > cursor)
