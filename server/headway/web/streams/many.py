"""The stream of many jobs: a snapshot, `ready`, then every change."""

from aiohttp import hdrs, web

from ..identity.gate import caller, count_snapshot
from ..parts import parts
from ..requests.filters import FilterQuery
from ..requests.query import LastEventQuery, query
from .audience import Audience, Event, Member
from .one import new_stream, serve
from .response import EventStream


async def jobs_stream(request: web.Request) -> web.StreamResponse:
    """`GET /jobs/progress`: one stream for many jobs."""
    wanted = query(request, ManyQuery)
    parts(request).service.admission.check_running()
    await count_snapshot(request)
    stream = new_stream(request)
    if request.method == hdrs.METH_HEAD:
        return stream
    member = Member(stream, stream.cut)
    audiences = parts(request).audiences
    audience = audiences.enter(caller(request).sees, wanted.as_filter(), member)
    try:
        return await serve(request, stream, _JobsStream(request, stream, audience, member).run)
    finally:
        audiences.leave(audience, member)


class ManyQuery(FilterQuery, LastEventQuery):
    """A client may send its last event id, which is ignored: these events have no ids, so a reconnect starts afresh."""


class _JobsStream:
    """The task of one watcher of many jobs: serves it at connect, and when its reader falls behind."""

    __slots__ = ("_audience", "_audiences", "_hub", "_member", "_snapshots", "_stream")

    def __init__(self, request: web.Request, stream: EventStream, audience: Audience, member: Member) -> None:
        self._hub = parts(request).hub
        self._audiences = parts(request).audiences
        self._snapshots = parts(request).snapshots
        self._stream = stream
        self._audience = audience
        self._member = member

    async def run(self) -> None:
        """Serve until the server stops or the client disconnects."""
        audience, member = self._audience, self._member
        await self._stream.write(await self._snapshots.of(audience, member))
        while not (self._hub.closed or self._stream.lost):
            if member.level:
                await self._stream.rest()
                continue
            await self._stream.caught_up()
            if member.missed:
                await self._catch_up(audience, member)
            else:
                self._audiences.join(audience, member)

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
