"""The calls of a client, as coroutines: written once, run by threads and by asyncio."""

import json
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any
from uuid import uuid4

from .connection.requests import Request, job_path
from .connection.session import NEVER, Deadline, Session
from .errors import (
    JobCancelledError,
    JobFailedError,
    NotFoundError,
    TooManyRequestsError,
    WaitTimeoutError,
    json_in,
    retry_after_s,
)
from .events import Event, LogEvent
from .following import Following, log_lines, state_in
from .inputs import Filters, JobEdit, RetryChanges, SubmitOptions, changes_json, filter_params, submission
from .results import parse_result
from .states import JobError, JobState, LogLine, OutputFile

LONG_POLL_S = 10
"""How long one request waits. Servers grant up to 50 s; but a thread that waits learns only then of a closed client."""
POLL_S = 1.0
SOON_S = 0.5
"""A long poll that is answered before the job has ended, and before this, was no long poll."""
PAGE = 200


class Calls:
    """What can be asked of a server. Every method raises what `Session.send` raises."""

    def __init__(self, session: Session) -> None:
        self.session = session

    async def json(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        """The body of a plain `GET`."""
        return json_in(await self.session.send(Request(method="GET", path=path, params=params or {})))

    # Jobs

    async def submit(self, job_type: str | Callable[..., Any], input: Any, options: SubmitOptions) -> JobState:
        return state_in(await self.session.send(submission(job_type, input, options)))

    async def read(self, job_id: str) -> JobState:
        return state_in(await self.session.send(Request(method="GET", path=job_path(job_id))))

    async def jobs(self, filters: Filters, limit: int | None) -> AsyncGenerator[JobState, None]:
        """The jobs that match, page by page as they are needed."""
        params: dict[str, Any] = filter_params(filters)
        left = limit
        while left is None or left > 0:
            page = await self.json("/jobs", params | {"limit": PAGE if left is None else min(left, PAGE)})
            for fields in page["jobs"]:
                yield JobState(fields)
            left = None if left is None else left - len(page["jobs"])
            if page["nextCursor"] is None:
                return
            params["cursor"] = page["nextCursor"]

    async def wait(self, state: JobState, timeout_s: float | None) -> JobState:
        """The job once it has ended, by long polls. Raises `WaitTimeoutError`."""
        deadline = NEVER if timeout_s is None else Deadline(timeout_s)
        while not state.ended:
            asked_at, wait_s = time.monotonic(), int(min(LONG_POLL_S, deadline.left_s))
            state, poll_after_s = await self._long_poll(state, wait_s, deadline)
            if not state.ended and not deadline.left_s:
                raise WaitTimeoutError(state)
            if not state.ended and (wait_s == 0 or time.monotonic() - asked_at < SOON_S):
                await self.session.transport.pause(min(poll_after_s, deadline.left_s))
        return state

    async def _long_poll(self, state: JobState, wait_s: int, deadline: Deadline) -> tuple[JobState, float]:
        """The job after waiting, and when to ask again if that was refused."""
        request = Request(method="GET", path=job_path(state.id), params={"wait": wait_s} if wait_s else {})
        try:
            response = await self.session.send(request, deadline)
        except TooManyRequestsError as error:
            if error.type != "too-many-waits":
                raise
            return await self.read(state.id), error.retry_after_s or POLL_S
        return state_in(response), retry_after_s(response) or POLL_S

    def events(self, job_id: str) -> AsyncGenerator[Event, None]:
        return Following(self.session, job_id).events()

    async def logs(self, job_id: str, *, after: int, follow: bool) -> AsyncGenerator[LogLine, None]:
        """The log, oldest line first; with `follow` until the job has ended."""
        seq = after
        async with aclosing(log_lines(self.session, job_id, after)) as lines:
            async for line in lines:
                seq = line.seq
                yield line
        if not follow:
            return
        # Being queued is 1 in the history of every job, so there is always something to resume from.
        async with aclosing(Following(self.session, job_id, last_seq=max(seq, 1)).events()) as events:
            async for event in events:
                if isinstance(event, LogEvent):
                    yield event.line

    async def attempts(self, job_id: str) -> AsyncGenerator[dict[str, Any], None]:
        after: int | None = 0
        while after is not None:
            page = await self.json(job_path(job_id, "attempts"), {"after": after, "limit": PAGE})
            for attempt in page["attempts"]:
                yield attempt
            after = page["nextAfter"]

    # Results

    async def result(self, state: JobState, model: Any) -> Any:
        """What a job that has ended returned, as `model`.

        Raises `JobFailedError`, `JobCancelledError`, and `GoneError` if the output was deleted.
        """
        if state.status == "completed" and state.result is not None:
            return parse_result(json.dumps(state.result).encode(), model)
        return parse_result(await self.result_bytes(state), model)  # it is larger than 64 KiB, or null, or was not read

    async def result_bytes(self, state: JobState) -> bytes:
        """The JSON text of the result. Raises what `result` raises."""
        check_completed(state)
        return (await self.session.send(Request(method="GET", path=job_path(state.id, "result")))).content

    # Changes

    async def cancel(self, job_id: str) -> JobState:
        """The job after the cancel; still running if it takes over two seconds to stop. Raises `ConflictError`."""
        response = await self.session.send(Request(method="DELETE", path=job_path(job_id)))
        return state_in(response) if response.content else await self.read(job_id)

    async def purge(self, job_id: str) -> None:
        """Cancels the job if needed, and deletes everything of it."""
        try:
            await self.session.send(Request(method="DELETE", path=job_path(job_id), params={"purge": "true"}))
        except NotFoundError as error:
            if not error.repeated:  # else it is what the first request has done
                raise

    async def delete_result(self, job_id: str) -> None:
        await self.session.send(Request(method="DELETE", path=job_path(job_id, "result")))

    async def retry(self, job_id: str, changes: RetryChanges) -> JobState:
        """The new job."""
        headers = {"Idempotency-Key": f'"{uuid4()}"'}
        path = job_path(job_id, "retry")
        request = Request(method="POST", path=path, headers=headers, content=changes_json(changes))
        return state_in(await self.session.send(request))

    async def edit(self, job_id: str, changes: JobEdit) -> JobState:
        """The job after the edit. `None` takes back what was given."""
        request = Request(method="PATCH", path=job_path(job_id), content=changes_json(changes))
        return state_in(await self.session.send(request))

    # Files

    async def files(self, job_id: str) -> AsyncGenerator[OutputFile, None]:
        params: dict[str, Any] = {"limit": PAGE}
        while True:
            page = await self.json(job_path(job_id, "files"), params)
            for fields in page["files"]:
                yield OutputFile.of(fields)
            if page["nextCursor"] is None:
                return
            params["cursor"] = page["nextCursor"]

    async def file_bytes(self, job_id: str, name: str) -> bytes:
        return (await self.session.send(Request(method="GET", path=job_path(job_id, "files", name)))).content


def check_completed(state: JobState) -> None:
    """Raises `JobFailedError` or `JobCancelledError` if the job has ended otherwise."""
    if state.status == "failed":
        raise JobFailedError(state, state.error or JobError.of({}))
    if state.status == "cancelled":
        raise JobCancelledError(state)
