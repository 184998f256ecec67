"""The streams: `text/event-stream` of one job and of many (WHATWG HTML, 9.2).

A stream is a cursor: when its bell rings it reads the history after the cursor and the latest state, and
writes both. A slow reader blocks only itself and then gets the newest state; nothing is queued for it.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp_sse import EventSourceResponse
from pydantic_core import to_json

from ..clock import utc_now
from ..errors import JobNotFoundError
from ..jobs import Job, JobFilter, LogLine
from ..ports import Bell, EventHub, JobStore, Listener
from .auth import caller
from .endpoints import FilterQuery, find_job
from .intake import LastEventQuery, query
from .keys import ENCODER, HUB, SETTINGS, STATE, STORE, STREAMS
from .problems import Problem
from .wire import Encoder, log_line_fields

LOG_TAIL = 200
LOG_PAGE = 500
RETRY_MS = (1_000, 4_000)
MANY_SNAPSHOT = 200
MANY_ENDED_WITHIN = timedelta(seconds=60)
KEEP_ALIVE = b": keep-alive\n\n"


class EventStream(EventSourceResponse):
    """aiohttp-sse's response, with the contract's headers, LF line ends and frames that are bytes already.

    Its ping task is left out: the stream's own loop knows when it last wrote.
    """

    def __init__(self) -> None:
        super().__init__(sep="\n")
        self.headers["Cache-Control"] = "no-store, no-transform"  # the base class insists on "no-cache"
        # So do we leave to aiohttp what the base class insists on: this connection may be one that closes.
        del self.headers["Connection"]
        self.written_s = 0.0

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        if request.transport is None:
            raise ConnectionResetError("the client has gone before the stream began")
        self._set_tcp_user_timeout(request)
        return await web.StreamResponse.prepare(self, request)

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        await super().write(data)
        self.written_s = time.monotonic()


async def job_stream(request: web.Request) -> web.StreamResponse:
    """`GET /jobs/{id}/progress`"""
    query(request, LastEventQuery)
    job = await find_job(request)
    _refuse_when_stopping(request)
    given = _last_event_id(request)
    cursor = _placed(given, job)
    if job.terminal and cursor == job.last_seq:
        return web.Response(status=204)  # the one answer that stops EventSource for good
    if request.method == hdrs.METH_HEAD:
        return EventStream()
    listener = request.app[HUB].listen(Bell.CHANGED, job.id)
    try:
        response = EventStream()
        async with _open(request, response):
            await _greet(request, response)
            stream = _JobStream(request, response, listener, job.id)
            await stream.connect(given is not None, cursor)
            await stream.follow()
        return response
    finally:
        listener.close()


def _last_event_id(request: web.Request) -> str | None:
    """What the client has already; the header wins over the parameter."""
    return request.headers.get("Last-Event-ID") or request.query.get("lastEventId") or None


def _placed(given: str | None, job: Job) -> int | None:
    """The cursor that an event id stands for, `None` if it was never one of this job's."""
    if given is None or not given.isascii() or not given.isdigit() or len(given) > 18:  # noqa: PLR2004
        return None
    cursor = int(given)
    return cursor if 1 <= cursor <= job.last_seq else None


def _refuse_when_stopping(request: web.Request) -> None:
    if request.app[STATE].stopping:
        raise Problem("stopping", "Try again when the server is back.", retry_after_s=2)


@asynccontextmanager
async def _open(request: web.Request, response: EventStream) -> AsyncIterator[None]:
    """A registered stream; ended in good order, or silently if the client has gone."""
    streams = request.app[STREAMS]
    task = streams.enter(request)
    try:
        yield
        await response.write_eof()
    except ConnectionError:
        pass
    finally:
        streams.leave(task)


async def _greet(request: web.Request, response: EventStream) -> None:
    """Headers, and at once a few bytes, so that nobody on the way waits for more."""
    await response.prepare(request)
    retry_ms = random.randint(*RETRY_MS)  # noqa: S311 - so that not all return in one instant
    await response.write(b"retry: %d\n: connected\n\n" % retry_ms)


class _Watcher:
    """What a stream of one job and a stream of many have in common: it waits for bells, and is never quiet for long."""

    def __init__(self, request: web.Request, response: EventStream, listener: Listener) -> None:
        self._store: JobStore = request.app[STORE]
        self._hub: EventHub = request.app[HUB]
        self._encoder: Encoder = request.app[ENCODER]
        self._heartbeat_s = request.app[SETTINGS].heartbeat_s
        self._tick_s = request.app[SETTINGS].tick_s
        self._caller = caller(request)
        self._response = response
        self._listener = listener

    async def _rung(self) -> frozenset[str]:
        """The jobs that rang; nothing when it is time to say something anyway."""
        idle_s = time.monotonic() - self._response.written_s
        return await self._listener.wait(max(0.0, self._heartbeat_s - idle_s))

    async def _keep_alive(self) -> None:
        if time.monotonic() - self._response.written_s >= self._heartbeat_s:
            await self._response.write(KEEP_ALIVE)


class _JobStream(_Watcher):
    """One watcher of one job."""

    def __init__(self, request: web.Request, response: EventStream, listener: Listener, job_id: str) -> None:
        super().__init__(request, response, listener)
        self._job_id = job_id
        self._cursor = 0
        self._version = 0
        self._ended = False

    async def connect(self, resuming: bool, cursor: int | None) -> None:
        """History first: the missed lines, or the tail. Then the state, with the newest id."""
        job = await self._current()
        if job is None:
            return
        if cursor is None:
            if resuming:
                await self._response.write(b'event: reset\ndata: {"jobId":"%s"}\n\n' % self._job_id.encode())
            tail = await self._store.log_tail(self._job_id, job.last_seq, LOG_TAIL)
            await self._write_lines(tail)
        else:
            self._cursor = cursor
            await self._write_missed(job.last_seq)
        self._cursor = job.last_seq
        await self._write_state(job, with_id=True)

    async def follow(self) -> None:
        """Until the job has ended or is gone, or the server stops."""
        while not self._ended and not self._hub.closed:
            if await self._rung():
                await self._catch_up()
            await self._keep_alive()

    async def _catch_up(self) -> None:
        job = await self._current()
        if job is None:
            return
        state_changed = job.state_seq > self._cursor
        await self._write_missed(job.last_seq)
        await self._write_state(job, with_id=state_changed)

    async def _current(self) -> Job | None:
        """The job, or `None` once its end was written because it is gone."""
        try:
            return await self._store.get(self._caller, self._job_id)
        except JobNotFoundError:
            pass
        last = self._store.departed(self._caller, self._job_id)
        if last is not None and last.version > self._version:
            self._cursor = last.last_seq
            await self._write_state(last, with_id=True)
        await self._response.write(_gone(self._job_id))
        self._ended = True
        return None

    async def _write_missed(self, up_to: int) -> None:
        while self._cursor < up_to:
            lines = await self._store.logs(self._job_id, self._cursor, up_to, LOG_PAGE)
            await self._write_lines(lines)
            self._cursor = up_to if len(lines) < LOG_PAGE else lines[-1].seq

    async def _write_lines(self, lines: Sequence[LogLine]) -> None:
        frames = b"".join(_log_frame(line) for line in lines)
        if frames:
            await self._response.write(frames)

    async def _write_state(self, job: Job, *, with_id: bool) -> None:
        if job.version <= self._version:
            return
        self._version = job.version
        position = await self._store.queue_position(job, utc_now())
        data = self._encoder.job(job, position)
        prefix = b"id: %d\n" % self._cursor if with_id else b""
        await self._response.write(b"%sdata: %s\n\n" % (prefix, data))
        self._ended = self._ended or job.terminal


def _log_frame(line: LogLine) -> bytes:
    return b"event: log\nid: %d\ndata: %s\n\n" % (line.seq, to_json(log_line_fields(line)))


def _gone(job_id: str) -> bytes:
    return b'event: gone\ndata: {"jobId":"%s"}\n\n' % job_id.encode()


async def jobs_stream(request: web.Request) -> web.StreamResponse:
    """`GET /jobs/progress`: one stream for many jobs."""
    wanted = query(request, ManyQuery)
    _refuse_when_stopping(request)
    if request.method == hdrs.METH_HEAD:
        return EventStream()
    listener = request.app[HUB].listen(Bell.CHANGED)
    try:
        response = EventStream()
        async with _open(request, response):
            await _greet(request, response)
            await _JobsStream(request, response, listener, wanted.as_filter()).run()
        return response
    finally:
        listener.close()


class ManyQuery(FilterQuery, LastEventQuery):
    """A reconnect may name its last event; there are no ids here, so it is a fresh start."""


class _JobsStream(_Watcher):
    """One watcher of many jobs."""

    def __init__(self, request: web.Request, response: EventStream, listener: Listener, filter: JobFilter) -> None:
        super().__init__(request, response, listener)
        self._filter = filter
        self._versions: dict[str, int] = {}

    async def run(self) -> None:
        """The snapshot, `ready`, then what changes: one write for all that changed since the last."""
        await self._snapshot()
        while not self._hub.closed:
            frames = b"".join([await self._frame(job_id) for job_id in sorted(await self._rung())])
            if frames:
                await self._response.write(frames)
                await asyncio.sleep(self._tick_s)
            await self._keep_alive()

    async def _snapshot(self) -> None:
        now = utc_now()
        jobs = await self._store.active(self._caller, self._filter, MANY_SNAPSHOT, now - MANY_ENDED_WITHIN)
        frames = [await self._state(job, now) for job in jobs]
        frames.append(b'event: ready\ndata: {"total":%d}\n\n' % len(jobs))
        await self._response.write(b"".join(frames))

    async def _frame(self, job_id: str) -> bytes:
        """What to say about a job that rang; nothing if it is not this stream's or has not changed."""
        try:
            job = await self._store.get(self._caller, job_id)
        except JobNotFoundError:
            return self._departed(job_id)
        held = self._versions.get(job_id)
        if held is None and not self._filter.matches(job):
            return b""
        if held is not None and job.version <= held:
            return b""
        return await self._state(job, utc_now())

    def _departed(self, job_id: str) -> bytes:
        """A job that is gone: its last state if that was not sent, then `gone`."""
        held = self._versions.pop(job_id, None)
        last = self._store.departed(self._caller, job_id)
        if held is None:
            # Not sent by this stream, but a client may hold it from elsewhere: from a list, say.
            return _gone(job_id) if last is not None and self._filter.matches(last) else b""
        if last is not None and last.version > held:
            return b"data: %s\n\n%s" % (self._encoder.job(last, None), _gone(job_id))
        return _gone(job_id)

    async def _state(self, job: Job, now: datetime) -> bytes:
        """A state event; a job that left the filter is said once more and then forgotten."""
        self._versions[job.id] = job.version
        if not self._filter.matches(job):
            del self._versions[job.id]
        position = await self._store.queue_position(job, now)
        return b"data: %s\n\n" % self._encoder.job(job, position)
