"""The embedded engine: claims jobs into free slots, publishes progress, hears cancels, stops in order.

It holds what runs now and nothing else; the store holds the truth. Attempts and the engine's own loops live
in one TaskGroup, and neither an attempt nor one turn of a loop can end it.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

import structlog

from ..authoring.job_types import Registry
from ..clock import utc_now
from ..domain.jobs import Claim, Status
from ..errors import HeadwayError, JobNotFoundError
from ..ports.events import Bell, EventHub, Listener
from ..ports.jobs import Attempts, LogBatch, Reader, Tick
from .attempt import Attempt, StopReason
from .executor import Executor
from .failure_hook import FailureHook
from .limits import RunLimits

CLAIM_AT_LEAST_EVERY_S = 5.0
CALM_DOWN_S = 1.0
LOOKS_PER_TICK = 5
"""How often what handlers report is looked at: each job is published once a tick, but not all in the same moment."""

log = structlog.get_logger(__name__)


class Store(Attempts, Reader, Protocol):
    """What the engine needs of the record."""


class EmbeddedEngine:
    """Runs jobs in this process (async handlers) and its children (the others)."""

    def __init__(
        self,
        store: Store,
        hub: EventHub,
        registry: Registry,
        executor: Executor,
        limits: RunLimits,
        failures: FailureHook | None = None,
    ) -> None:
        self._store = store
        self._hub = hub
        self._registry = registry
        self._executor = executor
        self._limits = limits
        self._failures = failures or FailureHook()
        self._running: dict[str, Attempt] = {}
        self._attempts: set[asyncio.Task[None]] = set()
        self._tasks: asyncio.TaskGroup | None = None
        self._main: asyncio.Task[None] | None = None
        self._slot_free = asyncio.Event()
        self._claiming = asyncio.Lock()
        self._stopping = False

    async def start(self) -> None:
        recovery = await self._store.recover(utc_now(), self._limits.max_recoveries, self._recoveries_by_type())
        if recovery.requeued or recovery.ended:
            log.warning("recovered", requeued=len(recovery.requeued), ended=len(recovery.ended))
        for job in recovery.ended:
            if job.status is Status.FAILED:
                self._failures.report(job)
        self._main = asyncio.create_task(self._run(), name="engine")

    def _recoveries_by_type(self) -> dict[str, int]:
        """How many crashes a job may survive, for the types that say so."""
        return {job_type.name: limit for job_type in self._registry if (limit := job_type.recovery_limit) is not None}

    async def stop(self, grace_s: float) -> None:
        self._stopping = True
        self._slot_free.set()
        for attempt in self._running.values():
            attempt.stop(StopReason.SHUTDOWN, grace_s)
        async with self._claiming:  # a claim that is under way brings attempts that must be stopped too
            attempts = list(self._attempts)
        if attempts:
            await asyncio.wait(attempts, timeout=grace_s + CALM_DOWN_S)
        await self._failures.close(CALM_DOWN_S)
        if self._main is not None:
            self._main.cancel()
            await asyncio.wait({self._main}, timeout=CALM_DOWN_S)

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            queued, cancels = self._hub.listen(Bell.QUEUED), self._hub.listen(Bell.CANCEL)
            for name, turn in (
                ("claim", self._claim_when_due),
                ("wake", partial(self._hear_queued, queued)),
                ("cancel", partial(self._hear_cancels, cancels)),
                ("progress", self._publish_progress),
                ("logs", self._publish_logs),
                ("failures", self._failures.call_next),
            ):
                tasks.create_task(self._forever(turn), name=f"engine-{name}")

    async def _forever(self, turn: Callable[[], Awaitable[None]]) -> None:
        """One of the engine's loops: a turn that fails is logged, and the loop goes on."""
        while True:
            try:
                await turn()
            except HeadwayError as error:
                log.warning("a turn of the engine failed", reason=str(error))
                await asyncio.sleep(CALM_DOWN_S)
            except Exception:
                log.exception("a turn of the engine failed")
                await asyncio.sleep(CALM_DOWN_S)

    # Claiming

    async def _claim_when_due(self) -> None:
        """Fill free slots, then wait until a job comes, falls due, or ends."""
        self._slot_free.clear()
        async with self._claiming:
            wait_s = CLAIM_AT_LEAST_EVERY_S if self._stopping else await self._claim()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._slot_free.wait()

    async def _claim(self) -> float:
        """Claim what fits; seconds until it is worth another look without being woken."""
        limit = self._limits.max_running - len(self._running)
        free = self._free_slots() if limit > 0 else {}
        if not free:
            return CLAIM_AT_LEAST_EVERY_S
        now = utc_now()
        claimed = await self._store.claim(free, limit, now)
        for claim in claimed.claims:
            await self._begin(claim)
        if claimed.next_run_at is None:
            return CLAIM_AT_LEAST_EVERY_S
        due_s = (claimed.next_run_at - utc_now()).total_seconds()
        return min(max(due_s, 0.001), CLAIM_AT_LEAST_EVERY_S)

    def _free_slots(self) -> dict[str, int]:
        """How many more jobs of each type may run; types that cannot run here have no slot."""
        taken = Counter(attempt.job.type for attempt in self._running.values())
        free = {
            job_type.name: (job_type.concurrency or self._limits.max_running) - taken[job_type.name]
            for job_type in self._registry
            if job_type.unavailable() is None
        }
        return {name: slots for name, slots in free.items() if slots > 0}

    async def _begin(self, claim: Claim) -> None:
        """Register, then look for a cancel: one that is recorded later finds the attempt registered."""
        attempt = Attempt(claim, self._store.median_run_s(claim.job.type))
        self._running[claim.job.id] = attempt
        await self._stop_if_cancelled(claim.job.id)
        if self._stopping:
            attempt.stop(StopReason.SHUTDOWN, 0.0)
        if self._tasks is not None:
            task = self._tasks.create_task(self._execute(attempt), name=f"attempt:{claim.job.id}")
            self._attempts.add(task)
            task.add_done_callback(self._attempts.discard)

    async def _execute(self, attempt: Attempt) -> None:
        try:
            await self._executor.execute(attempt)
        except Exception:
            log.exception("an attempt ended without a recorded outcome", job_id=attempt.job.id)
        finally:
            del self._running[attempt.job.id]
            self._slot_free.set()

    async def _hear_queued(self, listener: Listener) -> None:
        if await listener.wait(CLAIM_AT_LEAST_EVERY_S):
            self._slot_free.set()
        await self._pause_if_closed()

    # Cancels

    async def _hear_cancels(self, listener: Listener) -> None:
        for job_id in await listener.wait(CLAIM_AT_LEAST_EVERY_S):
            await self._stop_if_cancelled(job_id)
        await self._pause_if_closed()

    async def _pause_if_closed(self) -> None:
        """A closed hub answers at once and for ever: do not spin until the engine is stopped."""
        if self._hub.closed:
            await asyncio.sleep(CALM_DOWN_S)

    async def _stop_if_cancelled(self, job_id: str) -> None:
        attempt = self._running.get(job_id)
        if attempt is None:
            return
        try:
            job = await self._store.get(attempt.job.owner, job_id)
        except JobNotFoundError:
            attempt.stop(StopReason.CANCEL, self._limits.cancel_grace_s)
            return
        if job.cancel_requested:
            attempt.stop(StopReason.CANCEL, self._limits.cancel_grace_s)

    # Progress and logs

    async def _publish_progress(self) -> None:
        await asyncio.sleep(self._limits.tick_s / LOOKS_PER_TICK if self._running else self._limits.tick_s)
        ticks = [
            Tick(attempt.job.id, attempt.job.attempt, progress)
            for attempt in self._running.values()
            if attempt.reported.changed and (progress := attempt.read_progress(self._limits.tick_s)) is not None
        ]
        if ticks:
            await self._store.tick(ticks, utc_now())
        await self._store.flush()

    async def _publish_logs(self) -> None:
        await asyncio.sleep(self._limits.tick_s)
        taken = [(attempt, lines) for attempt in self._running.values() if (lines := attempt.take_lines())]
        if not taken:
            return
        batches = [LogBatch(attempt.job.id, attempt.job.attempt, lines) for attempt, lines in taken]
        try:
            await self._store.append_logs(batches)
        except HeadwayError:
            for attempt, lines in taken:
                attempt.logs.put_back(lines)
            raise
