"""The stream of many jobs: a snapshot, `ready`, then every change."""

import asyncio
from datetime import timedelta

from aiohttp import hdrs, web

from ...clock import utc_now
from ...domain.filters import JobFilter
from ..identity.gate import caller, count_snapshot
from ..parts import parts
from ..requests.filters import FilterQuery
from ..requests.query import LastEventQuery, query
from ..turns import PIECE
from .audiences import Audience, Event, Member
from .events import ready_event, state_event
from .one import new_stream, serve
from .response import EventStream

MANY_SNAPSHOT = 200
MANY_ENDED_WITHIN = timedelta(seconds=60)


async def jobs_stream(request: web.Request) -> web.StreamResponse:
    """`GET /jobs/progress`: one stream for many jobs."""
    wanted = query(request, ManyQuery)
    parts(request).service.admission.check_running()
    await count_snapshot(request)
    stream = new_stream(request)
    if request.method == hdrs.METH_HEAD:
        return stream
    return await serve(request, stream, _JobsStream(request, stream, wanted.as_filter()).run)


class ManyQuery(FilterQuery, LastEventQuery):
    """A client may send its last event id, which is ignored: these events have no ids, so a reconnect starts afresh."""


class _JobsStream:
    """The task of one watcher of many jobs: serves it at connect, and when its reader falls behind."""

    __slots__ = ("_audiences", "_encoder", "_filter", "_hub", "_owner", "_store", "_stream", "_turns")

    def __init__(self, request: web.Request, stream: EventStream, filter: JobFilter) -> None:
        self._store = parts(request).store
        self._hub = parts(request).hub
        self._encoder = parts(request).encoder
        self._audiences = parts(request).audiences
        self._owner = caller(request).sees
        self._turns = parts(request).turns
        self._stream = stream
        self._filter = filter

    async def run(self) -> None:
        """Serve until the server stops or the client disconnects."""
        member = Member(self._stream, self._stream.cut)
        audience = self._audiences.enter(self._owner, self._filter, member)
        try:
            await self._snapshot(member)
            while not (self._hub.closed or self._stream.lost):
                if member.level:
                    await self._stream.rest()
                    continue
                await self._stream.caught_up()
                if member.missed:
                    await self._catch_up(audience, member)
                else:
                    self._audiences.join(audience, member)
        finally:
            self._audiences.leave(audience, member)

    async def _snapshot(self, member: Member) -> None:
        async with self._turns.of(self._owner):
            now = utc_now()
            jobs = await self._store.active(self._owner, self._filter, MANY_SNAPSHOT, now - MANY_ENDED_WITHIN)
            member.held = {job.id: job.version for job in jobs}
            events = []
            for place, job in enumerate(jobs, 1):
                events.append(state_event(self._encoder.job(job, await self._store.queue_position(job, now))))
                if place % PIECE == 0:
                    await asyncio.sleep(0)  # others' turn
        events.append(ready_event(len(jobs)))
        await self._stream.write(b"".join(events))

    async def _catch_up(self, audience: Audience, member: Member) -> None:
        """Send the latest state of the jobs that have changed meanwhile."""
        missed, member.missed = member.missed, {}
        events: list[Event] = []
        for job_id, told in missed.items():
            event = await self._audiences.event(audience, job_id, member.holds(job_id, told))
            if event is not None:
                events.append(event)
                member.sent(event)
        if events:
            await self._stream.write(b"".join(event.text for event in events))
