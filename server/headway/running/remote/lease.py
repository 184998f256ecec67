"""A worker's lease on one attempt: what it reports, when it has been silent for too long, how the attempt ends."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

from pydantic_core import to_json

from ...authoring.contexts import Context
from ...authoring.job_types import JobType
from ...clock import utc_now
from ...domain.access import LEASE_PREFIX, new_token
from ...domain.jobs import Claim, Job, JobError
from ...errors import ClaimLostError, LeaseLostError
from ...ports.work import LeaseState
from ..attempt import Attempt, StopReason
from ..calling import End, Lost, NotBegun, Raised, Returned, Stopped, returned_elsewhere

LARGE_BYTES = 64 * 1024
"""Larger results are validated in a thread, one at a time: it competes with the event loop for the interpreter."""
WORKER_LOST = JobError(
    type="worker-lost",
    title="The job's worker was lost",
    detail="It was started as often as its type allows.",
    status=500,
)


class TheLease:
    """An open lease (`ports.work.Lease`)."""

    def __init__(
        self, attempt: Attempt, job_type: JobType, context: Context, worker: str | None, validating: asyncio.Lock
    ) -> None:
        """`worker`: the id of the key that may use it. `validating`: held while a large result is validated."""
        self.attempt = attempt
        self.worker = worker
        self._token = new_token(LEASE_PREFIX)
        self._job_type = job_type
        self._context = context
        self._validating = validating
        self._end: End | Lost | NotBegun | None = None
        self._closed = False
        self._abandoned = False
        self._look = asyncio.Event()
        self._requests = 0
        self._adding = 0
        """Files that are being put among the output."""
        self._heard_s = time.monotonic()
        self._told_s: float | None = None
        self.recorded: asyncio.Future[Job | None] = asyncio.get_running_loop().create_future()
        """The job after its end, `None` if that could not be recorded."""

    @property
    def token(self) -> str:
        return self._token

    @property
    def claim(self) -> Claim:
        return self.attempt.claim

    @property
    def duration_s(self) -> float:
        return self._job_type.lease_s or 0.0

    # What the worker does

    @contextmanager
    def in_use(self) -> Iterator[None]:
        self.check()
        self._requests += 1
        try:
            yield
        finally:
            self._requests -= 1
            self._heard_s = time.monotonic()

    @contextmanager
    def adding_output(self) -> Iterator[None]:
        self.check()
        self._adding += 1
        try:
            yield
        finally:
            self._adding -= 1
            self.look_again()

    def state(self) -> LeaseState:
        reason = self.attempt.stop_reason
        if reason is not None and self._told_s is None:
            self._told_s = time.monotonic()
            self.look_again()
        return LeaseState(utc_now() + timedelta(seconds=self.duration_s), None if reason is None else reason.value)

    def progress(self, **values: Any) -> None:
        self.check()
        self._context.progress(**values)

    def log(self, message: str, level: str) -> None:
        self.check()
        self._context.log(message, level)

    async def checkpoint(self, value: Any) -> None:
        self.check()
        try:
            await self._context.checkpoint(value)
        except ClaimLostError:
            raise LeaseLostError from None

    async def complete(self, result: Any, result_url: str | None) -> Job:
        self.check()
        self._context.result_url = result_url
        encoded = to_json(result)
        if len(encoded) > LARGE_BYTES:
            async with self._validating:
                self.check()
                end = await asyncio.to_thread(returned_elsewhere, self._job_type, encoded, self._context.result_url)
        else:
            end = returned_elsewhere(self._job_type, encoded, self._context.result_url)
        return await self._ends(end)

    async def fail(self, error: JobError, *, retry: bool) -> Job:
        return await self._ends(Raised(error, final=not retry))

    def hand_back(self) -> None:
        if self._end is None and not self._closed:
            self._end = NotBegun()
            self.look_again()

    async def _ends(self, end: End) -> Job:
        """End the attempt, and wait until that is recorded, which goes on even if the worker is gone."""
        self.check()
        self._end = end
        self.look_again()
        recorded = await asyncio.shield(self.recorded)
        if recorded is None:
            raise LeaseLostError
        return recorded

    def check(self) -> None:
        if self._end is not None or self._closed:
            raise LeaseLostError

    # What the server does

    @property
    def was_reported(self) -> bool:
        """Whether the worker has said how the attempt ended."""
        return isinstance(self._end, Returned | Raised)

    async def until_ended(self) -> End | Lost | NotBegun:
        """Wait for the worker's report of the end. If it is silent for too long, or does not stop, that is the end."""
        while self._end is None:
            self._look.clear()
            left_s = self._left_s()
            if left_s <= 0:
                self._end = self._given_up()
                break
            with suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._look.wait()
        while self._adding:  # they have arrived, and are only moved: it does not take long
            self._look.clear()
            await self._look.wait()
        return self._end

    def look_again(self) -> None:
        """Something has changed: the attempt is to stop, say."""
        self._look.set()

    def abandon(self) -> None:
        """The server is stopping, so the worker's reports will not arrive: the attempt ends now."""
        self._abandoned = True
        self.look_again()

    def close(self) -> None:
        """The attempt has ended."""
        self._closed = True

    def _left_s(self) -> float:
        """The seconds until the attempt is given up, unless something changes."""
        if self._abandoned or self.attempt.stop_reason is StopReason.LIMIT:
            return 0.0  # what uses too much has no grace
        now_s = time.monotonic()
        if self._told_s is not None:
            return self._told_s + self.attempt.grace_s - now_s
        return self.duration_s if self._requests else self._heard_s + self.duration_s - now_s

    def _given_up(self) -> Stopped | Lost:
        if self.attempt.stop_reason is not None:
            return Stopped()
        return Lost(f"the attempt is lost: its worker has been silent for {self.duration_s:g} s", WORKER_LOST)
