"""The embedded engine: claims jobs into free slots, stops attempts that are cancelled, and stops all at a shutdown.

It holds what runs now and nothing else; the store holds the truth. An attempt that fails ends neither another attempt
nor one of the engine's loops.
"""

import asyncio
import contextlib
from functools import partial
from typing import Protocol

import structlog

from ..authoring.job_types import Registry
from ..clock import utc_now
from ..domain.jobs import Claim, Job, Status
from ..errors import JobNotFoundError
from ..loops import Loop, Loops
from ..ports.events import Bell, EventHub, Listener
from ..ports.jobs import Attempts
from .attempt import Attempt, StopReason
from .failure_hook import FailureHook
from .limits import RunLimits
from .publishing import Publisher
from .remote.workers import Workers
from .slots import Loads, NoLoads, Slots

CLAIM_AT_LEAST_EVERY_S = 5.0
STOP_WITHIN_S = 1.0
"""How long attempts and loops may take to end beyond the grace that their handlers were given."""

log = structlog.get_logger(__name__)


class Store(Attempts, Protocol):
    """What the engine needs of the record: all of `Attempts`, and a little of `Reader`."""

    async def get(self, caller: str, job_id: str) -> Job: ...

    def median_run_s(self, job_type: str) -> float | None: ...


class Executes(Protocol):
    """Runs an attempt to its recorded end."""

    async def execute(self, attempt: Attempt) -> None: ...


class EmbeddedEngine:
    """Runs jobs in this process and its children."""

    def __init__(
        self,
        store: Store,
        hub: EventHub,
        registry: Registry,
        executor: Executes,
        limits: RunLimits,
        failures: FailureHook | None = None,
        loads: Loads | None = None,
        workers: Workers | None = None,
    ) -> None:
        self._store = store
        self._hub = hub
        self._registry = registry
        self._executor = executor
        self._limits = limits
        self._failures = failures or FailureHook()
        self._running: dict[str, Attempt] = {}
        self._publisher = Publisher(store, self._running, limits.tick_s)
        self._loops: list[Loop] = []
        self._slot_free = asyncio.Event()
        loads = loads or NoLoads()
        loads.when_loaded(self._slot_free.set)
        self._workers = workers or Workers(store, registry)
        self._workers.when_asked(self._slot_free.set)
        self._slots = Slots(registry, limits, loads, left=self._slot_free.set, asking=self._workers.asking)
        self._claiming = asyncio.Lock()
        self._stopping = False

    async def start(self, loops: Loops) -> None:
        """Recover what a crash left behind, then begin to claim."""
        await self._recover()
        queued, cancels = self._hub.listen(Bell.QUEUED), self._hub.listen(Bell.CANCEL)
        claims = loops.start("engine-claims", lambda: self._claim_when_due(claims))
        self._loops = [
            claims,
            loops.start("engine-wake", partial(self._wake_when_queued, queued), until=lambda: self._hub.closed),
            loops.start("engine-cancels", partial(self._stop_cancelled, cancels), until=lambda: self._hub.closed),
            loops.start("engine-progress", self._publisher.publish_progress),
            loops.start("engine-logs", self._publisher.publish_logs),
            loops.start("engine-failures", self._failures.call_next),
        ]

    async def stop(self, grace_s: float) -> None:
        """Claim no more, and stop the running attempts within `grace_s` seconds: their jobs go back into the queue."""
        self._stopping = True
        self._slot_free.set()
        for attempt in self._running.values():
            attempt.stop(StopReason.SHUTDOWN, grace_s)
        self._workers.stop()
        async with self._claiming:  # a claim in progress brings attempts that must be stopped too
            attempts = [attempt for loop in self._loops for attempt in loop.work]
        if attempts:
            await asyncio.wait(attempts, timeout=grace_s + STOP_WITHIN_S)
        await self._failures.close(STOP_WITHIN_S)
        for loop in self._loops:
            await loop.stop(STOP_WITHIN_S)

    async def _recover(self) -> None:
        limits = {job_type.name: limit for job_type in self._registry if (limit := job_type.recovery_limit) is not None}
        recovery = await self._store.recover(utc_now(), self._limits.max_recoveries, limits)
        if recovery.requeued or recovery.ended:
            log.warning("recovered", requeued=len(recovery.requeued), ended=len(recovery.ended))
        for job in recovery.ended:
            if job.status is Status.FAILED:
                self._failures.report(job)

    # Claiming

    async def _claim_when_due(self, loop: Loop) -> None:
        """Fill the free slots, then wait until a job is queued, falls due, or ends."""
        self._slot_free.clear()
        async with self._claiming:
            wait_s = CLAIM_AT_LEAST_EVERY_S if self._stopping else await self._claim(loop)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._slot_free.wait()

    async def _claim(self, loop: Loop) -> float:
        """Claim as much as there is room for. Returns the seconds after which to claim again without being woken."""
        with self._workers.served():
            free = self._slots.free()
            if not free:
                return CLAIM_AT_LEAST_EVERY_S
            claimed = await self._store.claim(free, utc_now())
            for claim in claimed.claims:
                self._begin(claim, loop)
        for claim in claimed.claims:  # a cancel may have been recorded before the attempt was registered
            await self._stop_if_cancelled(claim.job.id)
        if claimed.next_run_at is None:
            return CLAIM_AT_LEAST_EVERY_S
        due_s = (claimed.next_run_at - utc_now()).total_seconds()
        return min(max(due_s, 0.001), CLAIM_AT_LEAST_EVERY_S)

    def _begin(self, claim: Claim, loop: Loop) -> None:
        slot = self._slots.take(claim.job.type)
        attempt = Attempt(claim, self._store.median_run_s(claim.job.type), slot)
        self._publisher.listen_to(attempt)
        self._running[claim.job.id] = attempt
        self._workers.give(attempt)
        if self._stopping:
            attempt.stop(StopReason.SHUTDOWN, 0.0)
        loop.spawn(f"attempt:{claim.job.id}", self._execute(attempt))

    async def _execute(self, attempt: Attempt) -> None:
        try:
            await self._executor.execute(attempt)
        except Exception:
            log.exception("an attempt ended without a recorded outcome", job_id=attempt.job.id)
        finally:
            if self._running.get(attempt.job.id) is attempt:  # else the job's next attempt has begun already
                del self._running[attempt.job.id]
            self._publisher.forget(attempt)
            attempt.slot.leave()
            self._workers.ended(attempt)

    async def _wake_when_queued(self, queued: Listener) -> None:
        if await queued.wait(CLAIM_AT_LEAST_EVERY_S):
            self._slot_free.set()
        if self._hub.closed:
            self._workers.send_away()

    # Cancels

    async def _stop_cancelled(self, cancels: Listener) -> None:
        for job_id in await cancels.wait(CLAIM_AT_LEAST_EVERY_S):
            await self._stop_if_cancelled(job_id)

    async def _stop_if_cancelled(self, job_id: str) -> None:
        attempt = self._running.get(job_id)
        if attempt is None:
            return
        try:
            cancelled = (await self._store.get(attempt.job.owner, job_id)).cancel_requested
        except JobNotFoundError:  # deleted
            cancelled = True
        if cancelled:
            attempt.stop(StopReason.CANCEL, self._limits.cancel_grace_s)
