"""The stream of one job: `text/event-stream` (WHATWG HTML, 9.2).

At connect, and when its reader falls behind, a stream reads the store itself: the history after its cursor, then the
latest state. Then it is level with the others, the fan-out serves it, and its task sleeps.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence

import structlog
from aiohttp import hdrs, web

from ...clock import utc_now
from ...domain.jobs import Job, LogLine
from ...errors import JobNotFoundError, StoreUnavailableError
from ..identity.gate import client, keys_owner
from ..parts import parts
from ..requests.path import find_job
from ..requests.query import LastEventQuery, query
from .events import gone_event, log_event, preamble, reset_event
from .fan_out import LOG_PAGE, Watcher, news
from .response import EventStream

LOG_TAIL = 200
RETRY_MS = (1_000, 4_000)
LOOK_AGAIN_S = 0.1

log = structlog.get_logger(__name__)


async def job_stream(request: web.Request) -> web.StreamResponse:
    """`GET /jobs/{id}/progress`"""
    query(request, LastEventQuery)
    job = await find_job(request)
    parts(request).service.admission.check_running()
    given = _last_event_id(request)
    cursor = _placed(given, job)
    if job.terminal and cursor == job.last_seq:
        return web.Response(status=204)  # the only response that stops EventSource for good
    stream = new_stream(request)
    if request.method == hdrs.METH_HEAD:
        return stream
    return await serve(request, stream, _JobStream(request, stream, job, given is not None, cursor).run)


def _last_event_id(request: web.Request) -> str | None:
    """The last event that the client received; the header takes precedence over the parameter."""
    return request.headers.get("Last-Event-ID") or request.query.get("lastEventId") or None


def _placed(given: str | None, job: Job) -> int | None:
    """The cursor for an event id; `None` if it is not an id of this job."""
    if given is None or not given.isascii() or not given.isdigit() or len(given) > 18:  # noqa: PLR2004
        return None
    cursor = int(given)
    return cursor if 1 <= cursor <= job.last_seq else None


def new_stream(request: web.Request) -> EventStream:
    return EventStream(parts(request).settings.stream_stall_timeout_s)


async def serve(request: web.Request, stream: EventStream, run: Callable[[], Awaitable[None]]) -> EventStream:
    """Register a stream, send the preamble and `run` it; end it in order, or silently if the client has disconnected.

    Raises `TooManyStreamsError`.
    """
    streams = parts(request).streams
    streams.enter(stream, client(request), keys_owner(request))
    try:
        await stream.prepare(request)
        retry_ms = random.randint(*RETRY_MS)  # noqa: S311 - jitter
        # A few bytes immediately, so that proxies pass on the headers.
        await stream.write(preamble(retry_ms))
        await run()
        await stream.write_eof()
    except ConnectionError:
        pass
    except StoreUnavailableError as error:
        log.warning("a stream was cut off: the store cannot be read", reason=str(error))
        stream.cut()
    finally:
        streams.leave(stream)
    return stream


class _JobStream:
    """The task of one watcher of one job."""

    __slots__ = ("_cursor", "_encoder", "_fan_out", "_hub", "_job_id", "_owner", "_resuming", "_store", "_stream")

    def __init__(self, request: web.Request, stream: EventStream, job: Job, resuming: bool, cursor: int | None) -> None:
        self._store = parts(request).store
        self._hub = parts(request).hub
        self._encoder = parts(request).encoder
        self._fan_out = parts(request).fan_out
        self._owner = job.owner
        self._stream = stream
        self._job_id = job.id
        self._resuming = resuming
        self._cursor = cursor

    async def run(self) -> None:
        """Serve until the job ends or is deleted, the server stops, or the client disconnects."""
        watcher = Watcher(self._stream, self._cursor or 0)
        channel = self._fan_out.enter(self._job_id, self._owner)
        try:
            await self._connect(watcher)
            while not (watcher.ended or self._hub.closed or self._stream.lost):
                if watcher.level:
                    await self._stream.rest()
                    continue
                anything = await self._catch_up(watcher)
                if not channel.join(watcher) and not anything:
                    await asyncio.sleep(LOOK_AGAIN_S)  # the bell rang before the record could be read
        finally:
            self._fan_out.leave(channel, watcher)

    async def _connect(self, watcher: Watcher) -> None:
        """Send the history, either the missed lines or the tail, then the state with the latest id."""
        if self._cursor is None:
            job = await self._current(watcher)
            if job is None:
                return
            events = [reset_event(self._job_id)] if self._resuming else []
            events += _events(await self._store.log_tail(self._job_id, job.last_seq, LOG_TAIL))
            if events:
                await self._stream.write(b"".join(events))
            watcher.cursor = job.last_seq
            await self._say(job, watcher)
        else:
            await self._catch_up(watcher)

    async def _catch_up(self, watcher: Watcher) -> bool:
        """Send the history and the state that the watcher has not been sent; false if there is nothing new."""
        await self._stream.caught_up()
        job = await self._current(watcher)
        if job is None:
            return True
        before = watcher.cursor, watcher.version
        while job.last_seq - watcher.cursor > (job.state_seq > watcher.cursor):
            lines = await self._store.logs(self._job_id, watcher.cursor, job.last_seq, LOG_PAGE)
            if lines:
                await self._stream.write(b"".join(_events(lines)))
            if len(lines) < LOG_PAGE:
                break
            watcher.cursor = lines[-1].seq
        await self._say(job, watcher)
        return (watcher.cursor, watcher.version) != before

    async def _current(self, watcher: Watcher) -> Job | None:
        """The job; or `None`, after sending the last events, if it was deleted."""
        try:
            return await self._store.get(self._owner, self._job_id)
        except JobNotFoundError:
            pass
        last = self._store.departed(self._owner, self._job_id)
        if last is not None:
            await self._say(last, watcher)
        await self._stream.write(gone_event(self._job_id))
        watcher.ended = True
        return None

    async def _say(self, job: Job, watcher: Watcher) -> None:
        """Send the state if it is newer; the history before it has been sent."""
        position = await self._store.queue_position(job, utc_now())
        event = news(job, self._encoder.job(job, position), (), watcher.cursor, watcher.version)
        watcher.cursor, watcher.version = job.last_seq, max(job.version, watcher.version)
        if event:
            await self._stream.write(event)
        watcher.ended = watcher.ended or job.terminal


def _events(lines: Sequence[LogLine]) -> list[bytes]:
    return [log_event(line) for line in lines]
