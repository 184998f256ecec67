"""The stream of many jobs: a snapshot, `ready`, then what changes."""

import asyncio
from datetime import datetime, timedelta

from aiohttp import hdrs, web

from ..clock import utc_now
from ..errors import JobNotFoundError
from ..jobs import Job, JobFilter
from ..ports import Bell, EventHub, JobStore, Listener
from .auth import caller
from .endpoints import FilterQuery
from .event_stream import EventStream
from .intake import LastEventQuery, query
from .keys import ENCODER, HUB, SETTINGS, STORE
from .stream import new_stream, refuse_when_stopping, serve
from .wire import Encoder, gone_event, state_event

MANY_SNAPSHOT = 200
MANY_ENDED_WITHIN = timedelta(seconds=60)
LISTEN_S = 1.0


async def jobs_stream(request: web.Request) -> web.StreamResponse:
    """`GET /jobs/progress`: one stream for many jobs."""
    wanted = query(request, ManyQuery)
    refuse_when_stopping(request)
    stream = new_stream(request)
    if request.method == hdrs.METH_HEAD:
        return stream
    listener = request.app[HUB].listen(Bell.CHANGED)
    try:
        return await serve(request, stream, _JobsStream(request, stream, listener, wanted.as_filter()).run)
    finally:
        listener.close()


class ManyQuery(FilterQuery, LastEventQuery):
    """A reconnect may name its last event; there are no ids here, so it is a fresh start."""


class _JobsStream:
    """One watcher of many jobs."""

    def __init__(self, request: web.Request, stream: EventStream, listener: Listener, filter: JobFilter) -> None:
        self._store: JobStore = request.app[STORE]
        self._hub: EventHub = request.app[HUB]
        self._encoder: Encoder = request.app[ENCODER]
        self._tick_s = request.app[SETTINGS].tick_s
        self._caller = caller(request)
        self._response = stream
        self._listener = listener
        self._filter = filter
        self._versions: dict[str, int] = {}

    async def run(self) -> None:
        """The snapshot, `ready`, then what changes: one write for all that changed since the last."""
        await self._snapshot()
        while not self._hub.closed and not self._response.lost:
            frames = b"".join([await self._frame(job_id) for job_id in sorted(await self._listener.wait(LISTEN_S))])
            if frames:
                await self._response.write(frames)
                await asyncio.sleep(self._tick_s)

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
            return gone_event(job_id) if last is not None and self._filter.matches(last) else b""
        if last is not None and last.version > held:
            return state_event(self._encoder.job(last, None)) + gone_event(job_id)
        return gone_event(job_id)

    async def _state(self, job: Job, now: datetime) -> bytes:
        """A state event; a job that left the filter is said once more and then forgotten."""
        self._versions[job.id] = job.version
        if not self._filter.matches(job):
            del self._versions[job.id]
        position = await self._store.queue_position(job, now)
        return state_event(self._encoder.job(job, position))
