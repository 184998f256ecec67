"""The embedded `JobStore`: memory answers, SQLite remembers.

Every write is an operation for the group-commit writer; its `committed` callback, called in commit order in
the loop, brings memory up to date and rings the bells. Reads of live and recent jobs are dictionary look-ups.
"""

import json
import sqlite3
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from operator import itemgetter
from pathlib import Path
from types import MappingProxyType
from typing import Self, overload

import structlog

from ...clock import utc_now
from ...domain.access import may_see
from ...domain.deliveries import WebhookEvent
from ...domain.filters import JobFilter
from ...domain.idempotency import FirstSubmission, IdempotencyKey
from ...domain.ids import is_job_id
from ...domain.instants import from_ms, to_ms
from ...domain.jobs import EVENT_OF, Counts, Documents, Job, LogLine, NewJob, NewLogLine, Status
from ...domain.outcomes import Outcome
from ...domain.progress import Progress
from ...errors import ClaimLostError, JobNotFoundError, JobStateError, QueueFullError, SetupError, StoreUnavailableError
from ...metrics import CommitMetrics
from ...ports.events import Bell, EventHub
from ...ports.jobs import Claims, LogBatch, Page, Recovery, Tick
from ..memory.census import Census
from ..memory.positions import QueuePositions
from ..memory.snapshots import Snapshots
from . import operations
from .database import open_writer
from .deliveries import BodyOf
from .filters import conditions
from .operations import Changed
from .readers import Readers
from .rows import ID, Parameters, Row, first_active, to_job, to_log_line
from .statements import SQL, getting
from .transaction import RecordConnection
from .writer import Operation, Rows, Writer

READER_COUNT = 2
TICKS_TO_DISK_EVERY_S = 0.5

log = structlog.get_logger(__name__)


class SqliteStore:
    """The record of one server process, which owns the file. Open it with `SqliteStore.open`."""

    def __init__(self, writer: Writer, readers: Readers, hub: EventHub, census: Census) -> None:
        self._writer = writer
        self._readers = readers
        self._hub = hub
        self._snapshots = Snapshots()
        self._census = census
        self._positions = QueuePositions(readers, self._census)
        self._keys_inserting: set[tuple[str, str]] = set()
        self._unwritten: set[str] = set()
        self._ending: Counter[tuple[str, int]] = Counter()
        self._ticks_written_s = 0.0

    @classmethod
    async def open(
        cls,
        path: Path,
        hub: EventHub,
        *,
        max_queued: int,
        max_queued_per_owner: int | None = None,
        body_of: BodyOf,
        commits: CommitMetrics | None = None,
    ) -> Self:
        """Open or create the file. `body_of` makes the bodies of webhooks, in another thread. Raises `SetupError`."""
        connection = open_writer(path)
        connection.body_of = body_of
        readers = Readers()
        writer = Writer(connection, commits)
        try:
            await readers.open(path, READER_COUNT)
            store = cls(writer, readers, hub, Census(max_queued, max_queued_per_owner))
            await store._census.load(readers)
        except BaseException as error:
            await readers.close()
            await writer.close()
            if isinstance(error, StoreUnavailableError | sqlite3.Error):
                raise SetupError(
                    f"{path} cannot be read ({error}): restore a backup or choose another --data-dir"
                ) from error
            raise
        return store

    @property
    def writer(self) -> Writer:
        """The one that writes, for what stands beside the store."""
        return self._writer

    @property
    def readers(self) -> Readers:
        """The connections that only read, for what stands beside the store."""
        return self._readers

    async def close(self) -> None:
        """Bring everything to disk and close the file, the readers first: the writer checkpoints alone."""
        self._write_ticks()
        await self._readers.close()
        await self._writer.close()

    # Writing

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
        self.check_room(new.owner, new.type, max_queued_of_type)
        job = Job.queued(new)

        def committed(_: None) -> Job:
            settled()
            self._accept(job)
            return job

        def settled() -> None:
            self._census.give_place_back(new.owner, new.type)

        self._census.take_place(new.owner, new.type)
        return await self._writer.write(Rows(operations.insert, new), committed, settled)

    def _accept(self, job: Job) -> None:
        """A job is on disk that was not there before."""
        self._census.count(job.owner, job.type, Status.QUEUED, 1)
        self._snapshots.put(job)
        self._hub.ring(Bell.CHANGED, job.id)
        self._hub.ring(Bell.QUEUED, job.id)

    async def _insert_once(
        self, new: NewJob, max_queued_of_type: int | None, key: IdempotencyKey
    ) -> Job | FirstSubmission:
        refusal: QueueFullError | None = None
        try:
            self.check_room(new.owner, new.type, max_queued_of_type)
        except QueueFullError as error:
            refusal = error  # unless it is a repeat, which only the transaction knows
        slot = (key.owner, key.key)
        place = int(refusal is None and slot not in self._keys_inserting)  # the first holds one for its repeats too

        def committed(first: FirstSubmission | None) -> Job | FirstSubmission | None:
            settled()
            if first is not None or refusal is not None:
                return first
            job = Job.queued(new)
            self._accept(job)
            return job

        def settled() -> None:
            self._census.give_place_back(new.owner, new.type, place)
            if place:
                self._keys_inserting.discard(slot)

        self._census.take_place(new.owner, new.type, place)
        if place:
            self._keys_inserting.add(slot)
        operation = partial(operations.insert_once, new=new, key=key, refused=refusal is not None)
        answer = await self._writer.write(operation, committed, settled)
        if answer is None:
            raise refusal or AssertionError("with room there is either the job or the first submission")
        return answer

    async def first_with_key(self, caller: str, key: str, now: datetime) -> FirstSubmission | None:
        row = await self._readers.one(SQL["first_with_key"], {"owner": caller, "key": key, "now": to_ms(now)})
        return None if row is None else FirstSubmission(*row)

    async def forget_keys(self, now: datetime, limit: int) -> int:
        return await self._writer.write(partial(operations.forget_keys, now=now, limit=limit), int)

    def check_room(self, owner: str, job_type: str, max_queued_of_type: int | None = None) -> None:
        self._census.check_room(owner, job_type, max_queued_of_type)

    async def claim(self, free: Mapping[str, int], limit: int, now: datetime) -> Claims:
        waiting = {job_type: slots for job_type, slots in free.items() if self._census.queued_of(job_type)}
        if not waiting:
            return Claims([], None)
        operation = partial(operations.claim, free=waiting, limit=limit, now=now, median_s=self.median_run_s)

        def committed(claims: Claims) -> Claims:
            claimed = [claim._replace(job=self._adopt(Changed(Status.QUEUED, claim.job))) for claim in claims.claims]
            return replace(claims, claims=claimed)

        return await self._writer.write(operation, committed)

    async def tick(self, ticks: Sequence[Tick], now: datetime) -> None:
        now = from_ms(to_ms(now))
        for tick in ticks:
            job = self._snapshots.get(tick.job_id)
            if job is None or job.status is not Status.RUNNING or job.attempt != tick.attempt:
                continue
            if self._ending[job.id, job.attempt]:
                continue  # its end, with its last progress, is on the way; a tick could overtake that version
            self._snapshots.put(job.ticked(tick.progress, now))
            self._unwritten.add(job.id)
            self._hub.ring(Bell.CHANGED, job.id)

    async def flush(self) -> None:
        if time.monotonic() - self._ticks_written_s >= TICKS_TO_DISK_EVERY_S:
            self._write_ticks()

    def _write_ticks(self) -> None:
        """Hand the progress that is only in memory to the writer; not waiting keeps live progress live."""
        ids, self._unwritten = self._unwritten, set()
        self._ticks_written_s = time.monotonic()
        jobs = [job for job_id in ids if (job := self._snapshots.get(job_id)) and job.status is Status.RUNNING]
        if not jobs:
            return

        def failed() -> None:
            self._unwritten |= {job.id for job in jobs}
            log.warning("progress could not be written, it is kept in memory", jobs=len(jobs))

        def committed(_: None) -> None:
            for job in jobs:
                if job.announces(WebhookEvent.PROGRESS):
                    self._hub.ring(Bell.OUTBOX, job.id)

        self._writer.post(lambda connection: operations.write_ticks(connection, jobs), committed, failed)

    async def append_logs(self, batches: Sequence[LogBatch]) -> None:
        def operation(connection: RecordConnection) -> list[int | None]:
            return [operations.number_lines(connection, batch) for batch in batches]

        def committed(last_seqs: list[int | None]) -> None:
            for batch, last_seq in zip(batches, last_seqs, strict=True):
                job = self._snapshots.get(batch.job_id)
                if last_seq is not None and job is not None:
                    self._snapshots.put(job._replace(last_seq=last_seq))
                    self._hub.ring(Bell.CHANGED, batch.job_id)

        await self._writer.write(operation, committed)

    async def checkpoint(self, job_id: str, attempt: int, checkpoint_json: str) -> None:
        operation = partial(operations.checkpoint, job_id=job_id, attempt=attempt, checkpoint_json=checkpoint_json)
        if not await self._writer.write(operation, bool):
            raise ClaimLostError(f"attempt {attempt} of job {job_id} is not current")

    async def finish(
        self, job: Job, outcome: Outcome, progress: Progress, lines: Sequence[NewLogLine], now: datetime
    ) -> Job:
        def operation(connection: RecordConnection) -> Changed | None:
            version = self._snapshots.version(job.id)
            return operations.finish(connection, job, version, outcome, progress, lines, now)

        def committed(changed: Changed | None) -> Job | None:
            settled()
            return None if changed is None else self._adopt(changed)

        def settled() -> None:
            self._ending[attempt] -= 1
            if not self._ending[attempt]:
                del self._ending[attempt]

        attempt = (job.id, job.attempt)
        self._ending[attempt] += 1
        ended = await self._writer.write(operation, committed, settled)
        if ended is None:
            raise ClaimLostError(f"attempt {job.attempt} of job {job.id} is not current")
        return ended

    async def cancel(self, caller: str, job_id: str, now: datetime) -> Job:
        def operation(connection: RecordConnection) -> Changed | None:
            return operations.cancel(connection, caller, job_id, self._snapshots.version(job_id), now)

        changed = await self._end_by_request(operation, job_id)
        if changed.before in (Status.COMPLETED, Status.FAILED):
            raise JobStateError(f"the job has {changed.before} already")
        return changed.job

    async def delete(self, caller: str, job_id: str, now: datetime) -> Job:
        def operation(connection: RecordConnection) -> Changed | None:
            return operations.delete(connection, caller, job_id, self._snapshots.version(job_id), now)

        return (await self._end_by_request(operation, job_id)).job

    async def _end_by_request(self, operation: Operation[Changed | None], job_id: str) -> Changed:
        """Carry out a cancel or a deletion. Raises `JobNotFoundError`."""

        def committed(changed: Changed | None) -> Changed | None:
            if changed is None:
                return None
            if changed.job.status is Status.RUNNING:
                self._hub.ring(Bell.CANCEL, job_id)
            return replace(changed, job=self._adopt(changed))

        changed = await self._writer.write(operation, committed)
        if changed is None:
            raise JobNotFoundError(job_id)
        return changed

    async def delete_result(self, caller: str, job_id: str, now: datetime) -> Job:
        def operation(connection: RecordConnection) -> Job | None:
            version = self._snapshots.version(job_id)
            return operations.delete_result(connection, caller, job_id, version, now)

        def committed(job: Job | None) -> Job | None:
            if job is not None:
                self._snapshots.put(job)
                self._hub.ring(Bell.CHANGED, job_id)
            return job

        job = await self._writer.write(operation, committed)
        if job is None:
            held = await self.get(caller, job_id)
            raise JobStateError(f"the job is {held.status}")
        return job

    async def expire(self, now: datetime, limit: int) -> int:
        operation = partial(operations.expire, now=now, limit=limit)
        return len(await self.change(operation))

    async def recover(
        self, now: datetime, max_recoveries: int, by_type: Mapping[str, int] = MappingProxyType({})
    ) -> Recovery:
        line = NewLogLine(now, "warning", "the server stopped while this attempt ran")
        operation = partial(operations.recover, now=now, max_recoveries=max_recoveries, by_type=by_type, lines=[line])
        moved = await self.change(operation)
        return Recovery(
            requeued=[job for job in moved if not job.terminal], ended=[job for job in moved if job.terminal]
        )

    async def change(self, operation: Operation[list[Changed]]) -> list[Job]:
        """Carry out an operation that changes jobs; memory follows it. The jobs as they then are."""
        return await self._writer.write(operation, self._adopt_all)

    async def check_writable(self) -> None:
        await self._writer.write(partial(operations.probe, now=utc_now()), lambda _: None)

    # Memory follows the disk

    def _adopt_all(self, changes: list[Changed]) -> list[Job]:
        return [self._adopt(changed) for changed in changes]

    def _adopt(self, changed: Changed) -> Job:
        """Bring memory up to date with a commit and tell who listens; the job as it is then published."""
        job, before = self._newest(changed.job), changed.before
        after = None if changed.deleted else job.status
        if after is not before:
            self._census.count(job.owner, job.type, before, -1)
            if after is not None:
                self._census.count(job.owner, job.type, after, 1)
        elif job.terminal:
            return job  # ended before, and nothing was changed
        if before is Status.RUNNING and job.status is Status.COMPLETED:
            self._census.ran(job)
        if changed.deleted:
            self._snapshots.remove(job)
            self._hub.ring(Bell.DELETED, job.id)
        else:
            self._snapshots.put(job)
        self._hub.ring(Bell.CHANGED, job.id)
        if job.webhook is not None and job.announces(EVENT_OF.get(job.status)):
            self._hub.ring(Bell.OUTBOX, job.id)
        if after is Status.QUEUED:
            self._hub.ring(Bell.QUEUED, job.id)
        return job

    def _newest(self, job: Job) -> Job:
        """`job` as committed; while it runs, with the progress of the ticks that the disk has not seen yet."""
        held = self._snapshots.get(job.id)
        if held is None or not (held.status is job.status is Status.RUNNING and held.attempt == job.attempt):
            return job
        self._unwritten.add(job.id)
        version = max(job.version, held.version + 1)  # ticks may have been published since the commit began
        return job._replace(progress=held.progress, version=version)

    # Reading

    async def get(self, caller: str, job_id: str) -> Job:
        job = self._snapshots.get(job_id)
        if job is None or not may_see(caller, job.owner):
            # Another's job is looked for like an unknown one: a 404 from memory would tell by its haste.
            job = await self._read(caller, job_id)
        return job

    async def _read(self, caller: str, job_id: str) -> Job:
        """Read a job that is not in memory; again if it changed while it was read. Raises `JobNotFoundError`."""
        while True:
            with self._snapshots.loading(job_id) as loading:
                row = await self._readers.one(getting(caller), {"id": job_id, "caller": caller})
            held = self._snapshots.get(job_id)
            if held is not None and may_see(caller, held.owner):
                return held
            if row is None:
                raise JobNotFoundError(job_id)
            if not loading.outdated:
                job = to_job(row)
                self._snapshots.put(job)
                return job

    async def documents(self, caller: str, job_id: str) -> Documents:
        row = await self._readers.one(SQL["documents"], {"id": job_id, "caller": caller})
        if row is None:
            raise JobNotFoundError(job_id)
        return Documents(*row)

    def departed(self, caller: str, job_id: str) -> Job | None:
        job = self._snapshots.departed(job_id)
        return job if job is not None and may_see(caller, job.owner) else None

    def known_foreign(self, caller: str, job_id: str) -> bool:
        job = self._snapshots.get(job_id) or self._snapshots.departed(job_id)
        return job is not None and not may_see(caller, job.owner)

    async def page(self, caller: str, filter: JobFilter, limit: int, cursor: str | None) -> Page:
        if cursor is not None and not is_job_id(cursor):
            raise ValueError(cursor)
        where, parameters = conditions(filter)
        if cursor is not None:
            where += " AND id < :cursor"
        sql = SQL["page"].replace("{where}", where)
        parameters |= {"limit": limit + 1, "cursor": cursor}
        rows = sorted(await self._of_owners(caller, sql, parameters), key=itemgetter(ID), reverse=True)
        jobs = [job for job in self._current(rows[:limit]) if filter.matches(job)]
        return Page(jobs, rows[limit - 1][0] if len(rows) > limit else None)

    async def active(self, caller: str, filter: JobFilter, limit: int, ended_since: datetime) -> Sequence[Job]:
        where, parameters = conditions(filter)
        parameters |= {"since": to_ms(ended_since), "limit": limit}
        # One statement is one moment: a job that is claimed meanwhile cannot fall between two looks.
        rows = await self._of_owners(caller, SQL["active"].replace("{where}", where), parameters)
        return [job for job in self._current(first_active(rows, limit)) if filter.matches(job)]

    async def _of_owners(self, caller: str, sql: str, parameters: Parameters) -> list[Row]:
        """The rows of every owner whose jobs the caller sees. A seek for each: every index begins with the owner."""
        found = [await self._readers.all(sql, parameters | {"owner": owner}) for owner in self._census.owners(caller)]
        return [row for rows in found for row in rows]

    def _current(self, rows: Sequence[Row]) -> list[Job]:
        """Rows as jobs; where memory knows newer progress, that. It may also be a commit behind the file."""
        jobs = [to_job(row) for row in rows]
        return [held if (held := self._snapshots.get(job.id)) and held.version >= job.version else job for job in jobs]

    async def counts(self, caller: str) -> Counts:
        return self._census.of(caller)

    async def queue_position(self, job: Job, now: datetime) -> int | None:
        return await self._positions.of(job, now)

    async def logs(self, job_id: str, after: int, up_to: int, limit: int) -> Sequence[LogLine]:
        where = {"id": job_id, "after": after, "up_to": up_to, "limit": limit}
        return [to_log_line(row) for row in await self._readers.all(SQL["logs"], where)]

    async def log_tail(self, job_id: str, up_to: int, limit: int) -> Sequence[LogLine]:
        where = {"id": job_id, "up_to": up_to, "limit": limit}
        return [to_log_line(row) for row in reversed(await self._readers.all(SQL["log_tail"], where))]

    def median_run_s(self, job_type: str) -> float | None:
        return self._census.median_run_s(job_type)

    async def existing(self, job_ids: Sequence[str]) -> frozenset[str]:
        rows = await self._readers.all(SQL["existing"], {"ids": json.dumps(list(job_ids))})
        return frozenset(row[0] for row in rows)
