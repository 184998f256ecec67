"""The `Reader` of the embedded store: memory answers for live and recent jobs, the file for all others."""

import asyncio
import json
from collections.abc import Collection, Coroutine, Sequence
from datetime import datetime
from typing import Any

from ...domain.access import may_see
from ...domain.attempts import PastAttempt, implied_attempt
from ...domain.filters import NEWEST_FIRST, Cursor, JobFilter, Order
from ...domain.ids import is_job_id
from ...domain.instants import to_ms
from ...domain.jobs import Counts, Documents, Job, LiveJob, LogLine, OutputFile
from ...errors import JobNotFoundError
from ...ports.jobs import FilePage, IdPage, Page
from ...quotas import Account, Quota
from ..memory.mirror import Mirror
from ..memory.positions import QueuePositions
from ..memory.quotas import Quotas
from ..mending import report
from .database import Database
from .listing.active import active_where, first_active
from .listing.pages import Pages
from .results.parts import read_result
from .rows import (
    COLUMNS,
    FILES_IN_A_ROW,
    IDENTITY,
    Parameters,
    Row,
    to_attempt,
    to_job,
    to_log_line,
    to_output_files,
)
from .statements import SQL, getting

ROWS_AT_ONCE = 25


class SqliteReader:
    """Reads jobs. Other owners' jobs are always read from the file, like unknown ones: speed would reveal them."""

    def __init__(self, database: Database, mirror: Mirror, quotas: Quotas) -> None:
        self._database = database
        self._pages = Pages(database)
        self._quotas = quotas
        self._mirror = mirror
        self._snapshots, self._census = mirror.snapshots, mirror.census
        self._positions = QueuePositions(self._read_due, mirror.census)

    @property
    def mirror(self) -> Mirror:
        """What memory knows of the jobs, for what else changes them."""
        return self._mirror

    # One job

    async def get(self, caller: str, job_id: str) -> Job:
        job = self._snapshots.get(job_id)
        if job is None or not may_see(caller, job.owner):
            job = await self._read(caller, job_id)
        return job

    async def _read(self, caller: str, job_id: str) -> Job:
        """Read a job that is not in memory; again if it changed while it was read. Raises `JobNotFoundError`."""
        while True:
            with self._snapshots.loading(job_id) as loading:
                row = await self._database.one(getting(caller), {"id": job_id, "caller": caller})
            held = self._snapshots.get(job_id)
            if held is not None and may_see(caller, held.owner):
                return held
            if row is None:
                raise JobNotFoundError(job_id)
            if not loading.outdated:
                job = to_job(row)
                self._snapshots.put(job)
                return job

    async def documents(self, caller: str, job_id: str, *, with_result: bool = True) -> Documents:
        wanted = {"id": job_id, "caller": caller, "with_result": with_result}
        row = await self._database.one(SQL["documents"], wanted)
        if row is None:
            raise JobNotFoundError(job_id)
        input_json, result_json, has_result, in_parts = row
        if input_json is None or (result_json is None and has_result):
            report("jobs", job_id, "input or result, which is not JSON")
        if in_parts:
            result_json = await read_result(self._database, job_id)
        return Documents("null" if input_json is None else input_json, result_json)

    def departed(self, caller: str, job_id: str) -> Job | None:
        job = self._snapshots.departed(job_id)
        return job if job is not None and may_see(caller, job.owner) else None

    def held(self, caller: str, job_id: str) -> Job | None:
        job = self._snapshots.get(job_id)
        return job if job is not None and may_see(caller, job.owner) else None

    def live(self, caller: str, job_id: str) -> LiveJob | None:
        live = self._snapshots.live(job_id)
        return live if live is not None and may_see(caller, live.recorded.owner) else None

    async def logs(self, job_id: str, after: int, up_to: int, limit: int) -> Sequence[LogLine]:
        where = {"id": job_id, "after": after, "up_to": up_to, "limit": limit}
        return [to_log_line(row) for row in await self._database.all(SQL["logs"], where)]

    async def log_tail(self, job_id: str, up_to: int, limit: int) -> Sequence[LogLine]:
        where = {"id": job_id, "up_to": up_to, "limit": limit}
        return [to_log_line(row) for row in reversed(await self._database.all(SQL["log_tail"], where))]

    async def files(self, job: Job, after: str, limit: int) -> FilePage:
        if job.files_total <= len(job.files):
            found: Sequence[OutputFile] = job.files
        else:
            where = {"job_id": job.id, "after": after, "rows": limit // FILES_IN_A_ROW + 3}
            rows = await self._database.all(SQL["output_files"], where)
            found = [file for row in rows for file in to_output_files(row)]
        page = [file for file in found if file.name > after][: limit + 1]
        return FilePage(page[:limit], page[limit - 1].name if len(page) > limit else None)

    async def file(self, job: Job, name: str) -> OutputFile | None:
        found: Sequence[OutputFile] = job.files
        if job.files_total > len(job.files):
            where = {"job_id": job.id, "after": name, "rows": 1}
            rows = await self._database.all(SQL["output_files"], where)
            found = [file for row in rows for file in to_output_files(row)]
        return next((file for file in found if file.name == name), None)

    async def attempts(self, job: Job, after: int, limit: int) -> Sequence[PastAttempt]:
        where = {"job_id": job.id, "after": after, "up_to": job.attempt, "limit": limit}
        found = [to_attempt(job.id, row) for row in await self._database.all(SQL["attempts"], where)]
        newest = implied_attempt(job)
        recorded_up_to = found[-1].number if found else after
        if newest is not None and newest.number > recorded_up_to and len(found) < limit:
            found.append(newest)
        return found

    # Many

    async def page(
        self, caller: str, filter: JobFilter, limit: int, cursor: str | None, order: Order = NEWEST_FIRST
    ) -> Page:
        rows, last = await self._listed(caller, filter, limit, cursor, order)
        jobs = [job for job in await self._current(rows) if filter.matches(job)]
        return Page(jobs, None if last is None else str(last))

    async def ids(self, caller: str, filter: JobFilter, limit: int, cursor: str | None) -> IdPage:
        rows, last = await self._listed(caller, filter, limit, cursor, columns=IDENTITY)
        named = [(str(job_id), str(job_type)) for job_id, _, job_type in rows]
        return IdPage([each for each in named if is_job_id(each[0])], None if last is None else str(last))

    async def _listed(
        self,
        caller: str,
        filter: JobFilter,
        limit: int,
        cursor: str | None,
        order: Order = NEWEST_FIRST,
        columns: str = COLUMNS,
    ) -> tuple[list[Row], Cursor | None]:
        """The rows of a page, as they are in the file, and its end. Raises `ValueError`."""
        after = None if cursor is None else Cursor.read(cursor, order)
        live: frozenset[str] = frozenset()
        if filter.terms or filter.updated_after is not None:  # memory knows better what running jobs say
            live = frozenset(job.id for job in self._snapshots.running(caller) if filter.matches(job))
        owners = self._census.owners(caller)
        return await self._pages.read(owners, filter, order, limit, after, live, columns)

    async def active(self, caller: str, filter: JobFilter, limit: int, ended_since: datetime) -> Sequence[Job]:
        where, parameters = active_where(filter)
        parameters |= {"since": to_ms(ended_since), "limit": limit}
        # One statement reads one moment, so a job that is claimed meanwhile is in one of its parts.
        rows = await self._of_owners(caller, SQL["active"].replace("{where}", where), parameters)
        return [job for job in await self._current(first_active(rows, limit)) if filter.matches(job)]

    async def _of_owners(self, caller: str, sql: str, parameters: Parameters) -> list[Row]:
        """The rows of every owner whose jobs the caller may see: a seek for each, as every index begins with it."""
        found = [await self._database.all(sql, parameters | {"owner": owner}) for owner in self._census.owners(caller)]
        return [row for rows in found for row in rows]

    async def _current(self, rows: Sequence[Row]) -> list[Job]:
        """Rows as jobs, or as memory holds them where it is not older: it may be a commit behind the file."""
        jobs: list[Job] = []
        for start in range(0, len(rows), ROWS_AT_ONCE):
            jobs += map(to_job, rows[start : start + ROWS_AT_ONCE])
            await asyncio.sleep(0)  # a row takes the loop some 15 µs
        return [held if (held := self._snapshots.get(job.id)) and held.version >= job.version else job for job in jobs]

    async def counts(self, caller: str) -> Counts:
        return self._census.of(caller)

    def account(self, owner: str) -> Account:
        limited = self._census.queue_share(owner)
        quota, used = self._quotas.of_owner(owner)
        if limited is not None and (quota.queued is None or quota.queued > limited):
            quota = quota._replace(queued=limited)
        return Account(quota, used)

    def account_of_key(self, key_id: str) -> Account:
        return self._quotas.of_key(key_id)

    @property
    def default_quota(self) -> Quota:
        """The quota of owners who have none of their own."""
        return self._quotas.default

    def holders(self) -> Sequence[str]:
        return self._quotas.owners()

    def queue_position(self, job: Job, now: datetime) -> Coroutine[Any, Any, int | None]:
        return self._positions.of(job, now)

    async def _read_due(self, owner: str, job_types: Collection[str], now: datetime, limit: int) -> list[str]:
        where = {"owner": owner, "types": json.dumps(list(job_types)), "now": to_ms(now), "limit": limit}
        return [job_id for (job_id,) in await self._database.all(SQL["queued_first"], where)]

    def median_run_s(self, job_type: str) -> float | None:
        return self._census.median_run_s(job_type)
