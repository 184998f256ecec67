"""Reading jobs: one, a page of them, their logs, their counts. An expired job is an unknown one."""

from collections.abc import Sequence
from datetime import datetime

from ..clock import utc_now
from ..domain.access import Caller, may_see
from ..domain.attempts import PastAttempt
from ..domain.filters import NEWEST_FIRST, JobFilter, Order
from ..domain.ids import is_job_id
from ..domain.jobs import Counts, Documents, Job, LogLine, OutputFile
from ..errors import InvalidError, JobNotFoundError, NotAllowedError
from ..ports.jobs import FilePage, IdPage, Page, Reader
from ..quotas import Account


class Reading:
    """What a caller may see of the record."""

    def __init__(self, store: Reader) -> None:
        self._store = store

    async def job(self, caller: Caller, job_id: str, now: datetime | None = None) -> Job:
        """The job now. Raises `JobNotFoundError`, from the instant at which the job expires."""
        if not is_job_id(job_id):
            raise JobNotFoundError(job_id)
        job = await self._store.get(caller.sees, job_id)
        if job.expires_at is not None and job.expires_at <= (now or utc_now()):
            raise JobNotFoundError(job_id)
        return job

    def departed(self, caller: Caller, job_id: str) -> Job | None:
        """The last state of a job that was deleted a moment ago, for a client that was waiting for it."""
        return self._store.departed(caller.sees, job_id)

    async def job_of_type(self, caller: Caller, job_id: str, type_name: str) -> Job:
        """The job, if it is of this type. Raises `JobNotFoundError`."""
        job = await self.job(caller, job_id)
        if job.type != type_name:
            raise JobNotFoundError(job_id)
        return job

    async def documents(self, job: Job, *, with_result: bool) -> Documents:
        """The job's input and, if wanted, its result. Raises `JobNotFoundError`."""
        return await self._store.documents(job.owner, job.id, with_result=with_result)

    async def page(
        self,
        caller: Caller,
        filter: JobFilter,
        limit: int,
        cursor: str | None,
        order: Order = NEWEST_FIRST,
        *,
        parameter: str = "cursor",
    ) -> Page:
        """Jobs in this order. Raises `InvalidError`, naming `parameter`, for a cursor that is not one of this list."""
        try:
            return await self._store.page(caller.sees, filter, limit, cursor, order)
        except ValueError as error:
            raise InvalidError([(f"/{parameter}", str(error))]) from None

    async def ids(self, caller: Caller, filter: JobFilter, limit: int, cursor: str | None) -> IdPage:
        """Which jobs these are, newest first: all that match in the record, whatever has changed since its commit."""
        return await self._store.ids(caller.sees, filter, limit, cursor)

    async def counts(self, caller: Caller) -> Counts:
        """How many jobs there are, by type and status."""
        return await self._store.counts(caller.sees)

    def usage(self, caller: Caller, owner: str) -> Account:
        """The quota of an owner, and how much of it is used. Raises `NotAllowedError` if it is another's."""
        if not may_see(caller.sees, owner):
            raise NotAllowedError("An admin's key is required for the figures of another owner.")
        return self._store.account(owner)

    def usage_of_key(self, key_id: str) -> Account:
        """The quota of a key, and how much of it is used by what was submitted with it."""
        return self._store.account_of_key(key_id)

    async def logs(self, job: Job, after: int, limit: int) -> Sequence[LogLine]:
        """At most `limit` log lines with a `seq` greater than `after`, oldest first."""
        return await self._store.logs(job.id, after, job.last_seq, limit)

    async def files(self, job: Job, after: str, limit: int) -> FilePage:
        """At most `limit` output files of the job, by name: those after the cursor `after`."""
        return await self._store.files(job, after, limit)

    async def file(self, job: Job, name: str) -> OutputFile | None:
        """The job's output file of that name, if it has one."""
        return await self._store.file(job, name)

    async def attempts(self, job: Job, after: int, limit: int) -> Sequence[PastAttempt]:
        """At most `limit` attempts with a number greater than `after`, oldest first."""
        return await self._store.attempts(job, after, limit)

    async def queue_position(self, job: Job, now: datetime) -> int | None:
        """A 1-based estimate of the job's place in the queue; `None` beyond 1,000 and once it has left the queue."""
        return await self._store.queue_position(job, now)
