"""What is known about all jobs without reading any: how many there are, how many are queued, how long they run."""

from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterable, Sequence
from math import ceil
from statistics import median

from ...domain.access import EVERY_OWNER, LOCAL_OWNER, may_see
from ...domain.jobs import ACTIVE, Counts, Job, Status
from ...errors import OwnerQueueFullError, QueueFullError

RUN_TIMES = 50
"""Of how many jobs of a type the run times are kept."""
RETRY_WHEN_FULL_S = 10
LONGEST_RETRY_S = 60


class Census:
    """Counts of jobs, changed in commit order in the loop's thread."""

    def __init__(
        self, max_queued: int, max_queued_per_owner: int | None = None, sharing: Sequence[Collection[str]] = ()
    ) -> None:
        """`max_queued_per_owner` does not apply to `LOCAL_OWNER`, whose jobs are everybody's without API keys.

        `sharing` holds the job types that share slots, pool by pool. Those in none share with each other.
        """
        self.pool_of = {job_type: pool for pool, job_types in enumerate(sharing) for job_type in job_types}
        self._max_queued = max_queued
        self._max_queued_per_owner = max_queued_per_owner
        self._jobs: Counter[tuple[str, str, Status]] = Counter()
        self._queued = 0
        self._queued_by_type: Counter[str] = Counter()
        self._queued_by_owner: Counter[str] = Counter()
        self._queued_by_pool: Counter[tuple[str, int | None]] = Counter()
        self._reserved = 0
        self._reserved_by_type: Counter[str] = Counter()
        self._reserved_by_owner: Counter[str] = Counter()
        self._run_times: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=RUN_TIMES))
        self._medians: dict[str, float] = {}

    def load(self, counts: Iterable[tuple[str, str, Status, int]], run_times: Iterable[tuple[str, float]]) -> None:
        """Begin with what the record holds: jobs by owner, type and status; types and seconds, oldest first."""
        for owner, job_type, status, jobs in counts:
            self.count(owner, job_type, status, jobs)
        for job_type, run_s in run_times:
            self._run_times[job_type].append(run_s)

    # How many

    def count(self, owner: str, job_type: str, status: Status, jobs: int) -> None:
        """Add `jobs` (or, if negative, take them away) to the count of a state."""
        self._jobs[owner, job_type, status] += jobs
        if status is Status.QUEUED:
            self._count_queued(owner, job_type, jobs)

    def moved(self, owner: str, job_type: str, before: Status, after: Status, jobs: int = 1) -> None:
        """Jobs have gone from one state to another."""
        counts = self._jobs
        counts[owner, job_type, before] -= jobs
        counts[owner, job_type, after] += jobs
        queued = jobs * ((after is Status.QUEUED) - (before is Status.QUEUED))
        if queued:
            self._count_queued(owner, job_type, queued)

    def _count_queued(self, owner: str, job_type: str, jobs: int) -> None:
        self._queued += jobs
        self._queued_by_type[job_type] += jobs
        self._queued_by_owner[owner] += jobs
        self._queued_by_pool[owner, self.pool_of.get(job_type)] += jobs

    def of(self, caller: str) -> Counts:
        """The jobs that the caller may see."""
        by_type: defaultdict[str, Counter[Status]] = defaultdict(Counter)
        for (owner, job_type, status), jobs in self._jobs.items():
            if jobs and may_see(caller, owner):
                by_type[job_type][status] += jobs
        return Counts(by_type)

    def owners(self, caller: str) -> list[str]:
        """The owners whose jobs the caller may see."""
        return sorted({owner for owner, _, _ in self._jobs}) if caller == EVERY_OWNER else [caller]

    @property
    def queued(self) -> int:
        """How many jobs are queued."""
        return self._queued

    def queued_of(self, job_type: str) -> int:
        """How many jobs of a type are queued."""
        return self._queued_by_type[job_type]

    def queued_of_owner(self, owner: str) -> int:
        """How many jobs of an owner are queued."""
        return self._queued_by_owner[owner]

    def kept_of(self, owner: str, job_type: str) -> int:
        """How many jobs of an owner and type there are, whatever their state."""
        return sum(self._jobs[owner, job_type, status] for status in Status)

    def active_of(self, owner: str, job_type: str) -> int:
        """How many jobs of an owner and type have not ended."""
        return sum(self._jobs[owner, job_type, status] for status in ACTIVE)

    def queued_beside(self, owner: str, job_type: str) -> int:
        """How many jobs of an owner are queued that share slots with this type, its own included."""
        return self._queued_by_pool[owner, self.pool_of.get(job_type)]

    def queued_types_of(self, owner: str) -> dict[str, int]:
        """How many jobs of an owner are queued, by type."""
        of, queued = self._jobs, Status.QUEUED
        return {
            job_type: jobs
            for job_type, of_all in self._queued_by_type.items()
            if of_all and (jobs := of[owner, job_type, queued])
        }

    # Room in the queue

    def check_room(self, owner: str, job_type: str, max_queued_of_type: int | None) -> None:
        """Raises `QueueFullError` if no other job may be queued."""
        if (share := self.queue_share(owner)) is not None:
            of_owner = self._queued_by_owner[owner] + self._reserved_by_owner[owner]
            if of_owner >= share:
                message = f"{of_owner:,} jobs of this owner are queued already"
                raise OwnerQueueFullError(message, self._retry_after_s(job_type))
        queued = self._queued + self._reserved
        if queued >= self._max_queued:
            raise QueueFullError(f"{queued:,} jobs are queued already", self._retry_after_s(job_type))
        if max_queued_of_type is not None:
            of_type = self._queued_by_type[job_type] + self._reserved_by_type[job_type]
            if of_type >= max_queued_of_type:
                message = f"{of_type:,} jobs of this type are queued already"
                raise QueueFullError(message, self._retry_after_s(job_type))

    def room(self, owner: str, job_type: str, max_queued_of_type: int | None) -> int:
        """How many more jobs may be queued."""
        rooms = [self._max_queued - self._queued - self._reserved]
        if (share := self.queue_share(owner)) is not None:
            rooms.append(share - self._queued_by_owner[owner] - self._reserved_by_owner[owner])
        if max_queued_of_type is not None:
            rooms.append(max_queued_of_type - self._queued_by_type[job_type] - self._reserved_by_type[job_type])
        return min(rooms)

    def queue_share(self, owner: str) -> int | None:
        """How many jobs the owner may have in the queue; `None`: as many as there is room for."""
        return None if owner == LOCAL_OWNER else self._max_queued_per_owner

    def _retry_after_s(self, job_type: str) -> int:
        median_s = self.median_run_s(job_type)
        return RETRY_WHEN_FULL_S if median_s is None else min(max(1, ceil(median_s)), LONGEST_RETRY_S)

    def reserve(self, owner: str, job_type: str, places: int = 1) -> None:
        """Hold places for jobs on their way to the disk, so that a burst within one commit cannot pass the limit."""
        self._reserved += places
        self._reserved_by_type[job_type] += places
        self._reserved_by_owner[owner] += places

    def release(self, owner: str, job_type: str, places: int = 1) -> None:
        """Give places back: the jobs are counted now, or were refused."""
        self._reserved -= places
        self._reserved_by_type[job_type] -= places
        self._reserved_by_owner[owner] -= places

    # How long

    def ran(self, job: Job) -> None:
        """Remember the run time of a job that has completed."""
        if job.started_at is not None and job.completed_at is not None:
            self._run_times[job.type].append((job.completed_at - job.started_at).total_seconds())
            self._medians.pop(job.type, None)

    def median_run_s(self, job_type: str) -> float | None:
        """The median run time of the type's most recently completed jobs, if there are any."""
        known = self._medians.get(job_type)
        if known is None and (times := self._run_times.get(job_type)):
            known = self._medians[job_type] = median(times)
        return known
