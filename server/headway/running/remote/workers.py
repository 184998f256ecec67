"""The workers that ask for jobs, and the leases of those that have one."""

import asyncio
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from ...authoring.contexts import Context
from ...authoring.job_types import Registry
from ...authoring.reporting import nobody_listens
from ...domain.jobs import Job
from ...errors import LeaseLostError
from ...ports.files import Directories
from ...ports.jobs import AttemptRecord
from ..attempt import Attempt
from ..recording import store_checkpoint
from .lease import TheLease

MOST_REPORTED = 1_000
"""So many ends that workers have reported are remembered, for those that lost the response."""
CLAIMED_WITHIN_S = 5.0
"""How long the next claim may take, for a worker that does not wait: the record may not be available now."""
NOWHERE = Directories("", "", "")
"""A worker has no directory here: it is sent its files, and sends them."""


class _Ask:
    """A worker that waits for a job."""

    def __init__(self, worker: str | None, *, waits: bool) -> None:
        self.worker = worker
        self.waits = waits
        """Whether it waits until there is one, not just for the next claim."""
        self.answer: asyncio.Future[TheLease | None] = asyncio.get_running_loop().create_future()

    def dismiss(self) -> None:
        """There is no job for it."""
        if not self.answer.done():
            self.answer.set_result(None)


class Workers:
    """All workers of one server (`ports.work.Workplace`). The engine claims for them, and tells it what it has."""

    def __init__(self, store: AttemptRecord, registry: Registry) -> None:
        self._store = store
        self._registry = registry
        self._asks: defaultdict[str, deque[_Ask]] = defaultdict(deque)
        """By type, those that have waited longest first."""
        self._by_attempt: dict[tuple[str, int], TheLease] = {}
        self._by_token: dict[str, TheLease] = {}
        self._reported: OrderedDict[str, tuple[Job, str | None]] = OrderedDict()
        """By token: the job after its end, and the worker."""
        self._asked = nobody_listens
        self._stopped = False
        self._validating = asyncio.Lock()

    # For workers

    async def claim(self, job_type: str, worker: str | None, wait_s: float) -> TheLease | None:
        if self._stopped:  # a claim in progress would give it a lease that nobody abandons
            return None
        ask = _Ask(worker, waits=wait_s > 0)
        self._asks[job_type].append(ask)
        self._asked()
        try:
            await asyncio.wait({ask.answer}, timeout=wait_s or CLAIMED_WITHIN_S)
        except asyncio.CancelledError:
            if ask.answer.done() and (lease := ask.answer.result()) is not None:
                lease.hand_back()
            raise
        finally:
            if not ask.answer.done():
                self._asks[job_type].remove(ask)
        return ask.answer.result() if ask.answer.done() else None

    def find(self, token: str, job_type: str, worker: str | None) -> TheLease:
        lease = self._open(token, job_type, worker)
        if lease is None:
            raise LeaseLostError
        return lease

    async def reported(self, token: str, job_type: str, worker: str | None) -> Job | None:
        lease = self._open(token, job_type, worker)
        if lease is not None and lease.was_reported:
            return await asyncio.shield(lease.recorded)  # the first report waits for it too
        job, reported_by = self._reported.get(token, (None, None))
        return job if job is not None and reported_by == worker and job.type == job_type else None

    # For the engine

    def when_asked(self, call: Callable[[], None]) -> None:
        """Have `call` called whenever a worker asks for a job."""
        self._asked = call

    def asking(self, job_type: str) -> int:
        """How many workers ask for a job of the type."""
        return len(self._asks.get(job_type, ()))

    @contextmanager
    def served(self) -> Iterator[None]:
        """Within the block jobs are claimed. Then those that asked before, and do not wait, have their answer."""
        hasty = [ask for asks in self._asks.values() for ask in asks if not ask.waits]
        try:
            yield
        finally:
            for ask in hasty:
                if not ask.answer.done():
                    self._dismiss(ask)

    def give(self, attempt: Attempt) -> None:
        """Give a job that was claimed to the worker that has waited longest, if it is one for workers."""
        job = attempt.job
        job_type, asks = self._registry.get(job.type), self._asks.get(job.type)
        if job_type is None or not job_type.is_remote or not asks:  # or the worker is gone meanwhile
            return
        ask = asks.popleft()
        lease = TheLease(attempt, job_type, self._context(attempt), ask.worker, self._validating)
        self._by_attempt[job.id, job.attempt] = self._by_token[lease.token] = lease
        ask.answer.set_result(lease)

    def lease_of(self, attempt: Attempt) -> TheLease | None:
        """The lease on an attempt; `None` if there was no worker for it."""
        return self._by_attempt.get((attempt.job.id, attempt.job.attempt))

    def ended(self, attempt: Attempt) -> None:
        """The attempt has ended, and that has been recorded if it could be."""
        lease = self._by_attempt.pop((attempt.job.id, attempt.job.attempt), None)
        if lease is None:
            return
        lease.close()
        del self._by_token[lease.token]
        if lease.was_reported and attempt.recorded is not None:
            self._reported[lease.token] = (attempt.recorded, lease.worker)
            while len(self._reported) > MOST_REPORTED:
                self._reported.popitem(last=False)
        if not lease.recorded.done():
            lease.recorded.set_result(attempt.recorded)

    def send_away(self) -> None:
        """The server is stopping: there are no more jobs for those that wait."""
        for ask in [ask for asks in self._asks.values() for ask in asks]:
            self._dismiss(ask)

    def stop(self) -> None:
        """End all leases, and give no more. Jobs that are requeued lose theirs: the next server knows none of them."""
        self._stopped = True
        self.send_away()
        for lease in self._by_attempt.values():
            lease.abandon()

    def _open(self, token: str, job_type: str, worker: str | None) -> TheLease | None:
        lease = self._by_token.get(token)
        return None if lease is None or lease.worker != worker or lease.claim.job.type != job_type else lease

    def _dismiss(self, ask: _Ask) -> None:
        for asks in self._asks.values():
            if ask in asks:
                asks.remove(ask)
        ask.dismiss()

    def _context(self, attempt: Attempt) -> Context:
        """What reports for the worker, with the checks that every handler's reports pass."""
        return Context(
            job_id=attempt.job.id,
            attempt=attempt.job.attempt,
            owner=attempt.job.owner,
            directories=NOWHERE,
            reported=attempt.reported,
            logs=attempt.logs,
            checkpoint_json=None,
            async_checkpoint=partial(store_checkpoint, self._store, attempt),
            start_process=_no_process,
        )


async def _no_process(*_: Any, **__: Any) -> Any:
    raise NotImplementedError("a worker starts its own")
