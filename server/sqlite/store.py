"""The embedded `JobStore`: memory answers, SQLite remembers.

Every write is an operation for the group-commit writer; its `committed` callback, called in commit order in
the loop, brings memory up to date and rings the bells. Reads of live and recent jobs are dictionary look-ups.
"""

import heapq
import json
import sqlite3
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median
from typing import Self

import structlog

from ..errors import ClaimLostError, JobNotFoundError, JobStateError, QueueFullError
from ..jobs import (
    Counts,
    Job,
    JobFilter,
    LogLine,
    NewJob,
    NewLogLine,
    Outcome,
    Status,
    first_id_at,
    is_job_id,
    to_ms,
)
from ..ports import Bell, Claims, Documents, EventHub, LogBatch, Page, Recovery, Tick
from ..progress import Progress
from . import operations
from .database import open_writer
from .operations import Changed
from .readers import Readers
from .rows import Parameters, Row, new_job, to_job, to_log_line
from .snapshots import Snapshots
from .statements import SQL
from .writer import Writer

READER_COUNT = 2
TICKS_TO_DISK_EVERY_S = 0.5
QUEUE_POSITIONS_EVERY_S = 1.0
QUEUE_POSITIONS = 1_000
RUN_TIMES = 50
RUN_TIMES_SCANNED = 2_000
RETRY_WHEN_FULL_S = 10

log = structlog.get_logger(__name__)


class SqliteStore:
    """The record of one server process, which owns the file. Open it with `SqliteStore.open`."""

    def __init__(self, writer: Writer, readers: Readers, hub: EventHub, max_queued: int) -> None:
        self._writer = writer
        self._readers = readers
        self._hub = hub
        self._max_queued = max_queued
        self._snapshots = Snapshots()
        self._counts: Counter[tuple[str, str, Status]] = Counter()
        self._queued = 0
        self._inserting = 0
        self._unwritten: set[str] = set()
        self._lagging: dict[str, int] = {}
        self._ticks_written_s = 0.0
        self._run_times: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=RUN_TIMES))
        self._positions: dict[str, int] = {}
        self._positions_at_s = -QUEUE_POSITIONS_EVERY_S

    @classmethod
    async def open(cls, path: Path, hub: EventHub, *, max_queued: int) -> Self:
        """Open or create the file. Raises `SetupError`."""
        connection = open_writer(path)
        readers = Readers()
        writer = Writer(connection)
        try:
            await readers.open(path, READER_COUNT)
            store = cls(writer, readers, hub, max_queued)
            await store._load()
        except BaseException:
            await readers.close()
            await writer.close()
            raise
        return store

    async def close(self) -> None:
        """Bring everything to disk and close the file, the readers first: the writer checkpoints alone."""
        self._write_ticks()
        await self._readers.close()
        await self._writer.close()

    async def _load(self) -> None:
        for owner, job_type, status, count in await self._readers.all(SQL["counts"], {}):
            self._count(owner, job_type, Status(status), count)
        run_times = await self._readers.all(SQL["run_times"], {"limit": RUN_TIMES_SCANNED})
        for job_type, run_ms in reversed(run_times):
            self._run_times[job_type].append(run_ms / 1000)

    # Writing

    async def insert(self, new: NewJob) -> Job:
        waiting = self._queued + self._inserting
        if waiting >= self._max_queued:
            raise QueueFullError(f"{waiting:,} jobs wait already", RETRY_WHEN_FULL_S)
        job = new_job(new)

        def committed(_: None) -> None:
            self._count(job.owner, job.type, Status.QUEUED, 1)
            self._snapshots.put(job)
            self._hub.ring(Bell.CHANGED, job.id)
            self._hub.ring(Bell.QUEUED, job.id)

        self._inserting += 1  # so that a burst within one commit cannot pass the limit
        try:
            await self._writer.write(lambda connection: operations.insert(connection, new), committed)
        finally:
            self._inserting -= 1
        return job

    async def claim(self, free: Mapping[str, int], limit: int, now: datetime) -> Claims:
        operation = partial(operations.claim, free=free, limit=limit, now=now, median_s=self.median_run_s)

        def committed(claims: Claims) -> None:
            for claim in claims.claims:
                self._adopt(Changed(Status.QUEUED, claim.job))

        return await self._writer.write(operation, committed)

    async def tick(self, ticks: Sequence[Tick], now: datetime) -> None:
        for tick in ticks:
            job = self._snapshots.get(tick.job_id)
            if job is None or job.status is not Status.RUNNING or job.attempt != tick.attempt:
                continue
            self._snapshots.put(job.ticked(tick.progress, now))
            self._unwritten.add(job.id)
            self._hub.ring(Bell.CHANGED, job.id)
        if time.monotonic() - self._ticks_written_s >= TICKS_TO_DISK_EVERY_S:
            self._write_ticks()

    def _write_ticks(self) -> None:
        """Hand the progress that is only in memory to the writer; not waiting keeps live progress live."""
        ids, self._unwritten = self._unwritten, set()
        lagging, self._lagging = self._lagging, {}
        self._ticks_written_s = time.monotonic()
        jobs = [job for job_id in ids if (job := self._snapshots.get(job_id)) and job.status is Status.RUNNING]
        if not jobs and not lagging:
            return

        def operation(connection: sqlite3.Connection) -> None:
            operations.write_ticks(connection, jobs)
            operations.repair_versions(connection, lagging)

        def failed() -> None:
            self._unwritten |= {job.id for job in jobs}
            self._lagging |= lagging
            log.warning("progress could not be written, it is kept in memory", jobs=len(jobs))

        self._writer.post(operation, lambda _: None, failed)

    async def append_logs(self, batches: Sequence[LogBatch]) -> None:
        def operation(connection: sqlite3.Connection) -> list[int | None]:
            return [operations.number_lines(connection, batch) for batch in batches]

        def committed(last_seqs: list[int | None]) -> None:
            for batch, last_seq in zip(batches, last_seqs, strict=True):
                job = self._snapshots.get(batch.job_id)
                if last_seq is not None and job is not None:
                    self._snapshots.put(replace(job, last_seq=last_seq))
                    self._hub.ring(Bell.CHANGED, batch.job_id)

        await self._writer.write(operation, committed)

    async def checkpoint(self, job_id: str, attempt: int, checkpoint_json: str) -> None:
        operation = partial(operations.checkpoint, job_id=job_id, attempt=attempt, checkpoint_json=checkpoint_json)
        if not await self._writer.write(operation):
            raise ClaimLostError(f"attempt {attempt} of job {job_id} is not current")

    async def finish(
        self, job: Job, outcome: Outcome, progress: Progress, lines: Sequence[NewLogLine], now: datetime
    ) -> Job:
        def operation(connection: sqlite3.Connection) -> Changed | None:
            version = self._snapshots.version(job.id)
            return operations.finish(connection, job, version, outcome, progress, lines, now)

        changed = await self._writer.write(operation, self._adopt)
        if changed is None:
            raise ClaimLostError(f"attempt {job.attempt} of job {job.id} is not current")
        return changed.job

    async def request_cancel(self, caller: str, job_id: str, now: datetime, *, purge: bool = False) -> Job:
        def operation(connection: sqlite3.Connection) -> Changed | None:
            version = self._snapshots.version(job_id)
            return operations.request_cancel(connection, caller, job_id, version, now, purge=purge)

        def committed(changed: Changed | None) -> None:
            self._adopt(changed)
            if changed is not None and changed.job.status is Status.RUNNING:
                self._hub.ring(Bell.CANCEL, job_id)

        changed = await self._writer.write(operation, committed)
        if changed is None:
            raise JobNotFoundError(job_id)
        if not changed.deleted and changed.before in (Status.COMPLETED, Status.FAILED):
            raise JobStateError(f"the job has {changed.before} already")
        return changed.job

    async def expire(self, now: datetime, limit: int) -> int:
        operation = partial(operations.expire, now=now, limit=limit)
        expired = await self._writer.write(operation, self._adopt_all)
        return len(expired)

    async def recover(self, now: datetime, max_recoveries: int) -> Recovery:
        line = NewLogLine(now, "warning", "the server stopped while this attempt ran")
        operation = partial(operations.recover, now=now, max_recoveries=max_recoveries, lines=[line])
        moved = [changed.job for changed in await self._writer.write(operation, self._adopt_all)]
        return Recovery(
            requeued=[job for job in moved if not job.terminal], ended=[job for job in moved if job.terminal]
        )

    async def check_writable(self) -> None:
        now_ms = int(time.time() * 1000)
        await self._writer.write(lambda connection: connection.execute(SQL["probe"], {"now": now_ms}).rowcount)

    # Memory follows the disk

    def _adopt_all(self, changes: list[Changed]) -> None:
        for changed in changes:
            self._adopt(changed)

    def _adopt(self, changed: Changed | None) -> None:
        """Bring memory up to date with a commit and tell who listens."""
        if changed is None:
            return
        job, before = changed.job, changed.before
        after = None if changed.deleted else job.status
        if after is not before:
            self._count(job.owner, job.type, before, -1)
            if after is not None:
                self._count(job.owner, job.type, after, 1)
        if before is Status.RUNNING and job.status is Status.COMPLETED and job.started_at and job.completed_at:
            self._run_times[job.type].append((job.completed_at - job.started_at).total_seconds())
        if changed.deleted:
            self._snapshots.remove(self._newest(job))
            self._hub.ring(Bell.DELETED, job.id)
        elif after is not before or after is Status.RUNNING:
            self._snapshots.put(self._newest(job))
        self._hub.ring(Bell.CHANGED, job.id)
        if after is Status.QUEUED:
            self._hub.ring(Bell.QUEUED, job.id)

    def _newest(self, job: Job) -> Job:
        """`job` as committed, with a version beyond what ticks have published while the commit was under way."""
        held = self._snapshots.get(job.id)
        if held is None or held.version < job.version or held == job:
            return job
        if held.status is job.status is Status.RUNNING:
            self._unwritten.add(job.id)
            job = replace(job, progress=held.progress, last_seq=max(job.last_seq, held.last_seq))
        else:
            self._lagging[job.id] = held.version + 1
        return replace(job, version=held.version + 1)

    def _count(self, owner: str, job_type: str, status: Status, step: int) -> None:
        self._counts[owner, job_type, status] += step
        if status is Status.QUEUED:
            self._queued += step

    # Reading

    async def get(self, caller: str, job_id: str) -> Job:
        job = self._snapshots.get(job_id) or await self._read(job_id)
        if job is None or job.owner != caller:
            raise JobNotFoundError(job_id)
        return job

    async def _read(self, job_id: str) -> Job | None:
        """Read a job that is not in memory; again if it changed while it was read."""
        while True:
            token = self._snapshots.start_loading(job_id)
            row = await self._readers.one(SQL["get"], {"id": job_id})
            job = None if row is None else to_job(row)
            held = self._snapshots.get(job_id)
            if held is not None:
                return held
            if self._snapshots.loaded(job_id, token, job):
                return job

    async def documents(self, caller: str, job_id: str) -> Documents:
        row = await self._readers.one(SQL["documents"], {"id": job_id, "owner": caller})
        if row is None:
            raise JobNotFoundError(job_id)
        return Documents(*row)

    def departed(self, caller: str, job_id: str) -> Job | None:
        job = self._snapshots.departed(job_id)
        return job if job is not None and job.owner == caller else None

    async def page(self, caller: str, filter: JobFilter, limit: int, cursor: str | None) -> Page:
        if cursor is not None and not is_job_id(cursor):
            raise ValueError(cursor)
        where, parameters = _where(filter)
        if cursor is not None:
            where += " AND id < :cursor"
        sql = SQL["page"].replace("{where}", where)
        parameters |= {"owner": caller, "limit": limit + 1, "cursor": cursor}
        jobs = self._current(await self._readers.all(sql, parameters))
        return Page(jobs[:limit], jobs[limit - 1].id if len(jobs) > limit else None)

    async def active(self, caller: str, filter: JobFilter, limit: int, ended_since: datetime) -> Sequence[Job]:
        found: list[Job] = []
        for status in (Status.RUNNING, Status.QUEUED):
            if not filter.statuses or status in filter.statuses:
                only = replace(filter, statuses=frozenset({status}))
                found += (await self.page(caller, only, limit - len(found), None)).jobs if len(found) < limit else ()
        where, parameters = _where(filter)
        parameters |= {"owner": caller, "since": to_ms(ended_since), "limit": limit}
        found += self._current(await self._readers.all(SQL["ended"].replace("{where}", where), parameters))
        return [job for job in {job.id: job for job in found}.values() if filter.matches(job)]

    def _current(self, rows: Sequence[Row]) -> list[Job]:
        """Rows as jobs; where memory knows newer progress, that."""
        return [self._snapshots.get(row[0]) or to_job(row) for row in rows]

    async def counts(self, caller: str) -> Counts:
        by_type: defaultdict[str, dict[Status, int]] = defaultdict(dict)
        for (owner, job_type, status), count in self._counts.items():
            if owner == caller and count:
                by_type[job_type][status] = count
        return Counts(by_type)

    async def queue_position(self, job: Job, now: datetime) -> int | None:
        if job.status is not Status.QUEUED or job.run_at > now:
            return None
        if time.monotonic() - self._positions_at_s >= QUEUE_POSITIONS_EVERY_S:
            self._positions_at_s = time.monotonic()
            self._positions = await self._read_positions(now)
        # A job that came since the last look stands behind all that wait now.
        return self._positions.get(job.id, self._queued if self._queued <= QUEUE_POSITIONS else None)

    async def _read_positions(self, now: datetime) -> dict[str, int]:
        types = {job_type for (_, job_type, status), count in self._counts.items() if status == "queued" and count}
        where = {"now": to_ms(now), "limit": QUEUE_POSITIONS}
        first = [await self._readers.all(SQL["queued_first"], {**where, "type": name}) for name in sorted(types)]
        order: Callable[[Row], tuple[int, int, str]] = lambda row: (-row[0], row[1], row[2])  # noqa: E731
        merged = heapq.merge(*first, key=order)
        return {row[2]: place for place, row in zip(range(1, QUEUE_POSITIONS + 1), merged, strict=False)}

    async def logs(self, job_id: str, after: int, up_to: int, limit: int) -> Sequence[LogLine]:
        where = {"id": job_id, "after": after, "up_to": up_to, "limit": limit}
        return [to_log_line(row) for row in await self._readers.all(SQL["logs"], where)]

    async def log_tail(self, job_id: str, up_to: int, limit: int) -> Sequence[LogLine]:
        where = {"id": job_id, "up_to": up_to, "limit": limit}
        return [to_log_line(row) for row in reversed(await self._readers.all(SQL["log_tail"], where))]

    def median_run_s(self, job_type: str) -> float | None:
        times = self._run_times.get(job_type)
        return median(times) if times else None

    async def existing(self, job_ids: Sequence[str]) -> frozenset[str]:
        rows = await self._readers.all(SQL["existing"], {"ids": json.dumps(list(job_ids))})
        return frozenset(row[0] for row in rows)


def _where(filter: JobFilter) -> tuple[str, Parameters]:
    """The filter as conditions: constant text, the values as parameters."""
    conditions: list[str] = []
    parameters: Parameters = {}
    for column, values in (("status", filter.statuses), ("type", filter.types), ("id", filter.ids)):
        if values:
            conditions.append(f"AND {column} IN (SELECT value FROM json_each(:{column}_in))")  # noqa: S608 - constants
            parameters[f"{column}_in"] = json.dumps(sorted(values))
    if filter.label is not None:
        conditions.append("AND label = :label")
        parameters["label"] = filter.label
    if filter.created_after is not None:  # ids carry their creation time, so the list's own index serves
        conditions.append("AND id >= :first_id")
        parameters["first_id"] = first_id_at(filter.created_after + timedelta(milliseconds=1))
    if filter.created_before is not None:
        conditions.append("AND id < :end_id")
        parameters["end_id"] = first_id_at(filter.created_before)
    return " ".join(conditions), parameters
