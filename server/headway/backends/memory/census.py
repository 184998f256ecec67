"""What is known of all jobs without looking at one: how many there are, how many wait, how long they run."""

from collections import Counter, defaultdict, deque
from math import ceil
from statistics import median

from ...domain.access import EVERY_OWNER, LOCAL_OWNER, may_see
from ...domain.jobs import Counts, Job, Status
from ...errors import OwnerQueueFullError, QueueFullError
from ..sqlite.readers import Readers
from ..sqlite.statements import SQL

RUN_TIMES = 50
RUN_TIMES_SCANNED = 2_000
RETRY_WHEN_FULL_S = 10
LONGEST_RETRY_S = 60


class Census:
    """Counted in commit order, in the loop's thread."""

    def __init__(self, max_queued: int, max_queued_per_owner: int | None = None) -> None:
        """The share of an owner is not that of `LOCAL_OWNER`: that is everybody who has no key."""
        self._max_queued = max_queued
        self._max_queued_per_owner = max_queued_per_owner
        self._jobs: Counter[tuple[str, str, Status]] = Counter()
        self._queued = 0
        self._queued_of: Counter[str] = Counter()
        self._queued_by: Counter[str] = Counter()
        self._coming = 0
        self._coming_of: Counter[str] = Counter()
        self._coming_by: Counter[str] = Counter()
        self._run_times: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=RUN_TIMES))

    async def load(self, readers: Readers) -> None:
        for owner, job_type, status, count in await readers.all(SQL["counts"], {}):
            self.count(owner, job_type, Status(status), count)
        run_times = await readers.all(SQL["run_times"], {"limit": RUN_TIMES_SCANNED})
        for job_type, run_ms in reversed(run_times):
            self._run_times[job_type].append(run_ms / 1000)

    # How many

    def count(self, owner: str, job_type: str, status: Status, step: int) -> None:
        """So many jobs more, or fewer, are in this state."""
        self._jobs[owner, job_type, status] += step
        if status is Status.QUEUED:
            self._queued += step
            self._queued_of[job_type] += step
            self._queued_by[owner] += step

    def of(self, caller: str) -> Counts:
        by_type: defaultdict[str, Counter[Status]] = defaultdict(Counter)
        for (owner, job_type, status), count in self._jobs.items():
            if count and may_see(caller, owner):
                by_type[job_type][status] += count
        return Counts(by_type)

    def owners(self, caller: str) -> list[str]:
        """Whose jobs there are for `caller`."""
        return sorted({owner for owner, _, _ in self._jobs}) if caller == EVERY_OWNER else [caller]

    @property
    def queued(self) -> int:
        """How many jobs wait."""
        return self._queued

    def queued_of(self, job_type: str) -> int:
        return self._queued_of[job_type]

    def queued_types(self) -> list[str]:
        """The types of which jobs wait, in order."""
        return sorted(name for name, count in self._queued_of.items() if count)

    # Room in the queue

    def check_room(self, owner: str, job_type: str, max_queued_of_type: int | None) -> None:
        """Raises `QueueFullError` if no other job may wait."""
        self._check_share(owner, job_type)
        waiting = self._queued + self._coming
        of_type = self._queued_of[job_type] + self._coming_of[job_type]
        if waiting < self._max_queued and (max_queued_of_type is None or of_type < max_queued_of_type):
            return
        which = f"{waiting:,} jobs" if waiting >= self._max_queued else f"{of_type:,} jobs of this type"
        raise QueueFullError(f"{which} wait already", self._retry_after_s(job_type))

    def _check_share(self, owner: str, job_type: str) -> None:
        if self._max_queued_per_owner is None or owner == LOCAL_OWNER:
            return
        waiting = self._queued_by[owner] + self._coming_by[owner]
        if waiting >= self._max_queued_per_owner:
            raise OwnerQueueFullError(f"{waiting:,} jobs of this owner wait already", self._retry_after_s(job_type))

    def _retry_after_s(self, job_type: str) -> int:
        median_s = self.median_run_s(job_type)
        return RETRY_WHEN_FULL_S if median_s is None else min(max(1, ceil(median_s)), LONGEST_RETRY_S)

    def take_place(self, owner: str, job_type: str, places: int = 1) -> None:
        """A job is on its way to the disk, so that a burst within one commit cannot pass the limit."""
        self._coming += places
        self._coming_of[job_type] += places
        self._coming_by[owner] += places

    def give_place_back(self, owner: str, job_type: str, places: int = 1) -> None:
        """It is counted now, or it never came."""
        self._coming -= places
        self._coming_of[job_type] -= places
        self._coming_by[owner] -= places

    # How long

    def ran(self, job: Job) -> None:
        """A job has completed."""
        if job.started_at is not None and job.completed_at is not None:
            self._run_times[job.type].append((job.completed_at - job.started_at).total_seconds())

    def median_run_s(self, job_type: str) -> float | None:
        times = self._run_times.get(job_type)
        return median(times) if times else None
