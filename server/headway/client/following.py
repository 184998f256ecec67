"""Following a job: by its stream (WHATWG HTML, 9.2), and by polls and its log while there is none."""

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING

from .connection.requests import Request, job_path
from .connection.session import ANSWERED_OTHERWISE, Session, passes
from .errors import GoneError, ProblemError, ServerError, ServerUnreachableError, json_in, retry_after_s
from .events import Event, LogEvent, ResetEvent, StateEvent
from .states import JobState, LogLine

if TYPE_CHECKING:
    import httpx
    from httpx_sse import ServerSentEvent

SILENCE_S = 30.0
"""Streams are never silent for longer than 15 s: after twice that, a connection is lost, or something holds it back."""
RECONNECT_S, LONGEST_RECONNECT_S = 2.0, 30.0
"""Until the stream says otherwise, with `retry`."""
MOST_POLLS = 16
"""Before a stream that could not be had is tried again."""
POLL_S = 1.0
NO_CONTENT = 204
EVENT_STREAM = "text/event-stream"


class Following:
    """One watcher of one job. It knows what it has seen, so that nothing comes twice and no log line is missed."""

    def __init__(self, session: Session, job_id: str, *, last_seq: int = 0) -> None:
        """`last_seq`: the last line of the log that the caller has seen; 0 for none."""
        self._session, self._job_id = session, job_id
        self._seq = last_seq
        self._last_event_id = str(last_seq) if last_seq else ""
        self._version = -1
        self._ended = False
        self._arrived = False
        """Whether the last stream has brought anything."""
        self._reconnect_s, self._poll_s = RECONNECT_S, POLL_S

    async def events(self) -> AsyncGenerator[Event, None]:
        """What happens until the job has ended.

        Raises `ProblemError` (`NotFoundError` if there is no such job, `GoneError` if it is deleted meanwhile),
        `ServerUnreachableError` and `ClientClosedError`.
        """
        failures = 0
        while True:
            async with aclosing(self._streamed()) as events:
                async for event in events:
                    yield event
            failures = 0 if self._arrived else failures + 1
            if not failures and not self._ended:
                await self._session.transport.pause(self._reconnect_s)
            async with aclosing(self._polls(failures)) as events:
                async for event in events:
                    yield event
            if self._ended:
                return

    async def _polls(self, failures: int) -> AsyncGenerator[Event, None]:
        """What polls show until a stream should be tried again: the later, the more often there was none."""
        for _ in range(min(2 ** (failures - 1), MOST_POLLS) if failures else 0):
            if self._ended:
                return
            async with aclosing(self._polled()) as events:
                async for event in events:
                    yield event
            if not self._ended:
                await self._session.transport.pause(self._poll_s)

    async def _streamed(self) -> AsyncGenerator[Event, None]:
        """The events of one stream, until it ends or is lost."""
        self._arrived = False
        headers = {"Accept": EVENT_STREAM, "Cache-Control": "no-store"}
        if self._last_event_id:
            headers["Last-Event-ID"] = self._last_event_id
        path = job_path(self._job_id, "progress")
        request = Request(method="GET", path=path, headers=headers, read_timeout_s=SILENCE_S)
        try:
            async with self._session.stream(request) as stream:
                # 204, the job had ended by that id, and what else is not a stream: a poll shows it.
                if not stream.response.headers.get("Content-Type", "").startswith(EVENT_STREAM):
                    return
                async with aclosing(stream.events()) as arriving:
                    async for sent in arriving:
                        self._reconnect_s = _reconnect_s(sent.retry, self._reconnect_s)
                        event = self._taken(sent) if sent.data else None
                        if event is not None:
                            yield event
                        if self._ended:
                            return
        except ServerUnreachableError:
            pass
        except ProblemError as error:
            if not (passes(error) or isinstance(error, ServerError) or error.type in ANSWERED_OTHERWISE):
                raise

    def _taken(self, sent: "ServerSentEvent") -> Event | None:
        """The event, unless it is old."""
        try:
            data = json.loads(sent.data)
            event = self._read(sent.event, data)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ServerUnreachableError(f"what came is no event of Headway: {error}") from error
        self._arrived = True
        self._last_event_id = "" if isinstance(event, ResetEvent) else sent.id or self._last_event_id
        return event

    def _read(self, name: str, data: object) -> Event | None:
        if not isinstance(data, dict):
            raise TypeError("its data is no object")
        if name == "gone":
            detail = f"The job {self._job_id} was deleted."
            problem = {"type": "/problems/gone", "title": "The job is gone", "status": 410, "detail": detail}
            raise GoneError(410, problem, retry_after_s=None, request_id="")
        if name == "reset":
            self._seq = 0
            return ResetEvent()
        if name == "log":
            return self._line(LogLine.of(data))
        return self._state(JobState(data)) if name in ("", "message") else None  # others are of a later version

    def _line(self, line: LogLine) -> LogEvent | None:
        if line.seq <= self._seq:
            return None
        self._seq = line.seq
        return LogEvent(line)

    def _state(self, state: JobState) -> StateEvent | None:
        if state.version <= self._version:
            return None
        self._version, self._ended = state.version, state.ended
        return StateEvent(state)

    async def _polled(self) -> AsyncGenerator[Event, None]:
        """What a poll shows: the lines since the last, then the state."""
        response = await self._session.send(Request(method="GET", path=job_path(self._job_id)))
        state = state_in(response)
        self._poll_s = retry_after_s(response) or POLL_S
        async with aclosing(log_lines(self._session, self._job_id, self._seq)) as lines:
            async for line in lines:
                event = self._line(line)
                if event is not None:
                    self._last_event_id = str(line.seq)
                    yield event
        changed = self._state(state)
        if changed is not None:
            yield changed


def state_in(response: "httpx.Response") -> JobState:
    """The job in a response. Raises `ProblemError` if there is none."""
    return JobState(json_in(response, "jobId", "type", "status", "version"))


def _reconnect_s(retry_ms: int | None, before_s: float) -> float:
    return before_s if retry_ms is None else min(retry_ms / 1000, LONGEST_RECONNECT_S)


async def log_lines(session: Session, job_id: str, after: int = 0) -> AsyncGenerator[LogLine, None]:
    """The lines that the log has now, behind `after`, oldest first."""
    at: int | None = after
    while at is not None:
        params = {"after": at} if at else {}
        page = json_in(await session.send(Request(method="GET", path=job_path(job_id, "logs"), params=params)), "lines")
        for line in page["lines"]:
            yield LogLine.of(line)
        at = page["nextAfter"]
