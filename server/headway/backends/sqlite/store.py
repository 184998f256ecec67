"""The embedded `JobStore`: memory answers, SQLite remembers.

Every write is an operation for the group-commit writer. Its `committed` callback, called in commit order in the
loop, brings memory up to date and rings the bells.
"""

import asyncio
import json
import time
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import Self, overload

import structlog

from ...clock import utc_now
from ...domain.attempts import Usage
from ...domain.audit import Actor
from ...domain.idempotency import FirstSubmission, IdempotencyKey
from ...domain.instants import to_ms
from ...domain.jobs import FILES_SHOWN, STATUSES, Job, NewJob, NewLogLine, Status
from ...domain.outcomes import Completed, Outcome
from ...domain.progress import Progress
from ...errors import ClaimLostError, JobNotFoundError, JobStateError, QueueFullError, QuotaExceededError
from ...ports.editing import WantedEdit
from ...ports.events import Bell, EventHub
from ...ports.jobs import Claims, FreeSlots, LogBatch, Outcomes, Recovery, Tick
from ..memory.census import Census
from ..memory.mirror import Changed, Mirror
from ..memory.quotas import UNLIMITED, Hold, Quotas, Reservation
from . import operations
from .database import Database
from .pending import Batched, Operation
from .queue.arrivals import Arrivals
from .queue.batches import Batch
from .queue.claiming import claim
from .queue.editing import carry_out
from .reading import SqliteReader
from .results.parts import LargeResults
from .rows import Parameters, output_files_parameters
from .statements import SQL
from .transaction import Transaction, probe

TICKS_TO_DISK_EVERY_S, TICKS_TO_DISK_WITHIN_S = 0.5, 10.0
"""The shortest and the longest time between two flushes, however few or many jobs report."""
JOBS_TO_DISK_PER_S = 500
"""Of more jobs, the progress is written less often: it took a twelfth of the time that a thousand jobs need."""
JOBS_TO_DISK_AT_ONCE = 100
"""More are written in pieces. The writer may share a core with the event loop: a thousand jobs in one transaction held
it up for so long that watchers missed reports.
"""
RUN_TIMES_SCANNED = 2_000

log = structlog.get_logger(__name__)


class SqliteStore(SqliteReader):
    """The jobs of one server process, which owns the file. Open it with `SqliteStore.open`."""

    def __init__(
        self,
        database: Database,
        hub: EventHub,
        mirror: Mirror,
        quotas: Quotas,
    ) -> None:
        super().__init__(database, mirror, quotas)
        self._arrivals = Arrivals(mirror, quotas)
        self._outputs: dict[tuple[str, int], Hold] = {}
        self._results = LargeResults(database)
        mirror.deleted = self._results.deleted
        self._hub = hub
        self._keys_inserting: set[tuple[str, str]] = set()
        self._ticks_written_s = 0.0

    @classmethod
    async def open(
        cls,
        database: Database,
        hub: EventHub,
        quotas: Quotas,
        *,
        max_queued: int,
        max_queued_per_owner: int | None = None,
        sharing: Sequence[Collection[str]] = (),
    ) -> Self:
        """Read the counts that memory begins with, `quotas` too. Raises `StoreUnavailableError`."""
        counts = await database.all(SQL["counts"], {})
        run_times = await database.all(SQL["run_times"], {"limit": RUN_TIMES_SCANNED})
        census = Census(max_queued, max_queued_per_owner, sharing)
        quotas.count({tuple(key): (jobs, size_bytes) for *key, jobs, size_bytes in counts})
        census.load(
            (
                (owner, job_type, Status(status), jobs)
                for owner, _, job_type, status, jobs, _ in counts
                if status in STATUSES  # any other is damaged, and its job counts nowhere
            ),
            ((job_type, run_ms / 1000) for job_type, run_ms in reversed(run_times)),
        )
        return cls(database, hub, Mirror(hub, census), quotas)

    def close(self) -> None:
        """Hand what is only in memory to the writer; closing the database brings it to disk."""
        self._write_ticks()
        self._results.close()

    # Submissions

    def check_room(
        self,
        owner: str,
        job_type: str,
        max_queued_of_type: int | None = None,
        key_id: str | None = None,
        size_bytes: int = 0,
    ) -> None:
        self._census.check_room(owner, job_type, max_queued_of_type)
        self._quotas.hold(owner, key_id).check(size_bytes, 1)

    def hold(self, owner: str, key_id: str | None) -> Hold:
        return self._quotas.hold(owner, key_id)

    def reserve(self, owner: str, key_id: str | None, size_bytes: int, *, checked: bool = True) -> Reservation:
        return self._quotas.reserve(owner, key_id, size_bytes, checked=checked)

    @overload
    async def insert(self, new: NewJob, max_queued_of_type: int | None = None) -> Job: ...

    @overload
    async def insert(
        self, new: NewJob, max_queued_of_type: int | None = None, key: IdempotencyKey | None = None
    ) -> Job | FirstSubmission: ...

    async def insert(
        self, new: NewJob, max_queued_of_type: int | None = None, key: IdempotencyKey | None = None
    ) -> Job | FirstSubmission:
        if key is not None:
            return await self._insert_once(new, max_queued_of_type, key)
        return await self._database.write_row(self._arrivals, self._arrivals.take_place(new, max_queued_of_type))

    async def _insert_once(
        self, new: NewJob, max_queued_of_type: int | None, key: IdempotencyKey
    ) -> Job | FirstSubmission:
        refusal: QueueFullError | QuotaExceededError | None = None
        slot = (key.owner, key.key)
        first = slot not in self._keys_inserting  # simultaneous repeats share one place
        hold = UNLIMITED
        try:
            self._census.check_room(new.owner, new.type, max_queued_of_type)
            if first:
                hold = self._arrivals.hold_quota(new)
        except (QueueFullError, QuotaExceededError) as error:
            refusal = error  # unless it is a repeat, which only the transaction knows
        places = int(refusal is None and first)

        def committed(first: FirstSubmission | None) -> Job | FirstSubmission | None:
            settled()
            if first is not None or refusal is not None:
                return first
            return self._mirror.accept(Job.queued(new))

        def settled() -> None:
            self._census.release(new.owner, new.type, places)
            hold.release()
            if places:
                self._keys_inserting.discard(slot)

        self._census.reserve(new.owner, new.type, places)
        if places:
            self._keys_inserting.add(slot)
        operation = partial(operations.insert_once, new=new, key=key, refused=refusal is not None)
        accepted = await self._database.write(operation, committed, settled)
        if accepted is None:
            raise refusal or AssertionError("with room there is either the job or the first submission")
        return accepted

    async def insert_batch(
        self, batch: Sequence[tuple[NewJob, int | None]], outcomes: Outcomes, key: IdempotencyKey | None = None
    ) -> str | FirstSubmission:
        return await Batch(self._mirror, self._quotas, batch).insert(self._database, outcomes, key)

    async def first_with_key(self, caller: str, key: str, now: datetime) -> FirstSubmission | None:
        row = await self._database.one(SQL["first_with_key"], {"owner": caller, "key": key, "now": to_ms(now)})
        return None if row is None else FirstSubmission(*row)

    # Control

    async def cancel(self, caller: str, job_id: str, now: datetime, by: Actor | None = None) -> Job:
        def operation(tx: Transaction) -> Changed | None:
            return operations.cancel(tx, caller, job_id, self._snapshots.version(job_id), now, by)

        changed = await self._end_by_request(operation, job_id)
        if changed.before in (Status.COMPLETED, Status.FAILED):
            raise JobStateError(f"the job has already {changed.before}")
        return changed.job

    async def delete(self, caller: str, job_id: str, now: datetime, by: Actor | None = None) -> Job:
        def operation(tx: Transaction) -> Changed | None:
            return operations.delete(tx, caller, job_id, self._snapshots.version(job_id), now, by)

        return (await self._end_by_request(operation, job_id)).job

    async def _end_by_request(self, operation: Operation[Changed | None], job_id: str) -> Changed:
        """Carry out a cancel or a deletion. Raises `JobNotFoundError`."""

        def committed(changed: Changed | None) -> Changed | None:
            if changed is None:
                return None
            if changed.job.status is Status.RUNNING:
                self._hub.ring(Bell.CANCEL, job_id)
            return changed._replace(job=self._mirror.adopt(changed))

        changed = await self._database.write(operation, committed)
        if changed is None:
            raise JobNotFoundError(job_id)
        return changed

    async def delete_result(self, caller: str, job_id: str, now: datetime, by: Actor | None = None) -> Job:
        def operation(tx: Transaction) -> tuple[Job, Job] | None:
            return operations.delete_result(tx, caller, job_id, self._snapshots.version(job_id), now, by)

        def committed(found: tuple[Job, Job] | None) -> Job | None:
            if found is None:
                return None
            before, job = found
            self._results.deleted(before)
            return self._mirror.update(job)

        job = await self._database.write(operation, committed)
        if job is None:
            held = await self.get(caller, job_id)
            raise JobStateError(f"the job is {held.status}")
        return job

    async def edit(self, wanted: WantedEdit) -> Job:
        return await carry_out(wanted, self._database, self._mirror)

    # Attempts

    async def recover(
        self, now: datetime, max_recoveries: int, by_type: Mapping[str, int] = MappingProxyType({})
    ) -> Recovery:
        line = NewLogLine(now, "warning", "the server stopped while this attempt ran")
        operation = partial(operations.recover, now=now, max_recoveries=max_recoveries, by_type=by_type, lines=[line])
        moved = await self.change(operation)
        return Recovery(
            requeued=[job for job in moved if not job.terminal], ended=[job for job in moved if job.terminal]
        )

    async def claim(self, pools: Sequence[FreeSlots], now: datetime) -> Claims:
        waiting = [
            FreeSlots(pool.total, of_type)
            for pool in pools
            if (of_type := {name: slots for name, slots in pool.of_type.items() if self._census.queued_of(name)})
        ]
        if not waiting:
            return Claims([], None)
        operation = partial(claim, pools=waiting, now=now, median_s=self.median_run_s)

        def committed(claims: Claims) -> Claims:
            self._mirror.begin([claimed.job for claimed in claims.claims])
            return claims

        return await self._database.write(operation, committed)

    async def tick(self, ticks: Sequence[Tick], now: datetime) -> None:
        self._mirror.tick(ticks, now)

    async def flush(self) -> float | None:
        unwritten = self._mirror.unwritten
        if not unwritten:
            return None
        pause_s = min(max(unwritten / JOBS_TO_DISK_PER_S, TICKS_TO_DISK_EVERY_S), TICKS_TO_DISK_WITHIN_S)
        pause_s *= min(1.0, JOBS_TO_DISK_AT_ONCE / unwritten)
        left_s = self._ticks_written_s + pause_s - time.monotonic()
        if left_s > 0:
            return left_s
        self._write_ticks(JOBS_TO_DISK_AT_ONCE)
        return pause_s if self._mirror.unwritten else None

    def _write_ticks(self, most: int | None = None) -> None:
        """Hand the progress that is only in memory, of `most` jobs, to the writer, without waiting for it."""
        self._ticks_written_s = time.monotonic()
        jobs = self._mirror.take_unwritten(most)
        if not jobs:
            return

        def failed() -> None:
            self._mirror.keep_unwritten(jobs)
            log.warning("progress could not be written and is kept in memory", jobs=len(jobs))

        def committed(_: None) -> None:
            self._mirror.ticks_written(jobs)

        self._database.post(partial(operations.write_ticks, jobs=jobs), committed, failed)

    async def append_logs(self, batches: Sequence[LogBatch]) -> None:
        def operation(tx: Transaction) -> list[int | None]:
            return [operations.number_lines(tx, batch) for batch in batches]

        def committed(last_seqs: list[int | None]) -> None:
            for batch, last_seq in zip(batches, last_seqs, strict=True):
                job = self._snapshots.get(batch.job_id)
                if last_seq is not None and job is not None:
                    self._mirror.update(job._replace(last_seq=last_seq))

        await self._database.write(operation, committed)

    async def checkpoint(self, job_id: str, attempt: int, checkpoint_json: str) -> None:
        operation = partial(operations.checkpoint, job_id=job_id, attempt=attempt, checkpoint_json=checkpoint_json)
        if not await self._database.write(operation, bool):
            raise ClaimLostError(f"attempt {attempt} of job {job_id} is not current")

    def hold_output(self, job: Job, size_bytes: int) -> None:
        hold = self._quotas.hold(job.owner, job.key_id)
        if hold is not UNLIMITED:
            hold.grow(size_bytes)
            self._outputs[job.id, job.attempt] = hold

    async def finish(
        self,
        job: Job,
        outcome: Outcome,
        progress: Progress,
        lines: Sequence[NewLogLine],
        now: datetime,
        usage: Usage | None = None,
    ) -> Job:
        files: Sequence[Parameters] = ()
        if isinstance(outcome, Completed) and len(outcome.files) > FILES_SHOWN:  # not in the writer: others would wait
            files = await asyncio.to_thread(output_files_parameters, job.id, outcome.files)
        try:
            in_parts_bytes = await self._results.keep(job, outcome)
        except ClaimLostError:
            self._release_output(job)
            raise
        ended = operations.Ended(job, outcome, progress, lines, now, usage, files, in_parts_bytes)

        def committed(changed: Changed | None) -> Job | None:
            settled()
            if in_parts_bytes is not None and (changed is None or changed.job.status is not Status.COMPLETED):
                self._results.discard_unused(job)
            self._release_output(job)
            return None if changed is None else self._mirror.adopt(changed)

        settled = self._mirror.ending(job)
        recorded = await self._database.write(Batched(self._finish, ended), committed, settled)
        if recorded is None:
            raise ClaimLostError(f"attempt {job.attempt} of job {job.id} is not current")
        return recorded

    def _release_output(self, job: Job) -> None:
        """The output of an attempt is counted now, or was not recorded."""
        if hold := self._outputs.pop((job.id, job.attempt), None):
            hold.release()

    def _finish(self, tx: Transaction, ended: Sequence[operations.Ended]) -> list[Changed | None]:
        return operations.finish(tx, ended, self._snapshots.version)

    # Housekeeping

    async def expire(self, now: datetime, limit: int) -> int:
        return len(await self.change(partial(operations.expire, now=now, limit=limit)))

    async def forget_keys(self, now: datetime, limit: int) -> int:
        return await self._database.write(partial(operations.forget_keys, now=now, limit=limit), int)

    async def existing(self, job_ids: Sequence[str]) -> frozenset[str]:
        rows = await self._database.all(SQL["existing"], {"ids": json.dumps(list(job_ids))})
        return frozenset(row[0] for row in rows)

    async def ended(self, job_ids: Sequence[str]) -> Mapping[str, bool]:
        rows = await self._database.all(SQL["ended"], {"ids": json.dumps(list(job_ids))})
        return {job_id: bool(has_output) for job_id, has_output in rows}

    async def discard_orphaned_results(self) -> None:
        await self._results.discard_orphaned()

    async def check_writable(self) -> None:
        await self._database.write(partial(probe, now=utc_now()), lambda _: None)

    async def change(self, operation: Operation[list[Changed]]) -> list[Job]:
        """Carry out an operation that changes jobs. Returns the jobs as they then are."""
        return await self._database.write(operation, self._mirror.adopt_all)
