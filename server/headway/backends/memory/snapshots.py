"""Jobs in memory: all running ones, the most recent others, and those deleted a moment ago. Bounded."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from ...domain.access import may_see
from ...domain.jobs import Job, LiveJob, Status
from ...domain.progress import Progress

MAX_RECENT = 10_000
MAX_DEPARTED = 2_000


@dataclass(slots=True, eq=False)
class Loading:
    """A read of one job from disk that is under way; `outdated` once the job has changed since it began."""

    outdated: bool = False


class Snapshots:
    """The newest state of the jobs that somebody may ask for. Changed in commit order, in the loop's thread."""

    def __init__(self) -> None:
        self._running: dict[str, LiveJob] = {}
        self._recent: OrderedDict[str, Job] = OrderedDict()
        self._departed: OrderedDict[str, Job] = OrderedDict()
        self._loading: dict[str, set[Loading]] = {}

    def get(self, job_id: str) -> Job | None:
        """The job's newest state, `None` if memory does not hold it."""
        live = self._running.get(job_id)
        if live is not None:
            return live.job
        job = self._recent.get(job_id)
        if job is not None:
            self._recent.move_to_end(job_id)
        return job

    def live(self, job_id: str) -> LiveJob | None:
        """The job if it is running."""
        return self._running.get(job_id)

    def running(self, caller: str) -> list[Job]:
        """The running jobs that the caller may see."""
        return [live.job for live in self._running.values() if may_see(caller, live.recorded.owner)]

    def version(self, job_id: str) -> int:
        """The newest published version, 0 if unknown. Changes nothing, so the writer's thread may call it."""
        known = self._running.get(job_id) or self._recent.get(job_id)
        return 0 if known is None else known.version

    def put(self, job: Job) -> None:
        """Keep the job's new state."""
        if self._loading:
            self._outdate(job.id)
        job_id, recent = job.id, self._recent
        recent.pop(job_id, None)  # so that it becomes the last of them
        if job.status is Status.RUNNING:
            self._running[job_id] = LiveJob(job)
            return
        self._running.pop(job_id, None)
        recent[job_id] = job
        if len(recent) > MAX_RECENT:
            recent.popitem(last=False)

    def add(self, jobs: Iterable[Job]) -> None:
        """Keep new jobs, which are queued."""
        for job in jobs:
            self._recent[job.id] = job
            if self._loading:
                self._outdate(job.id)
        while len(self._recent) > MAX_RECENT:
            self._recent.popitem(last=False)

    def tick(self, live: LiveJob, progress: Progress, now: datetime) -> None:
        """Publish newer progress of a running job."""
        if self._loading:
            self._outdate(live.recorded.id)
        live.tick(progress, now)

    def remove(self, job: Job) -> None:
        """The job was deleted; `job` is its last state."""
        self._outdate(job.id)
        self._running.pop(job.id, None)
        self._recent.pop(job.id, None)
        self._departed[job.id] = job
        if len(self._departed) > MAX_DEPARTED:
            self._departed.popitem(last=False)

    def departed(self, job_id: str) -> Job | None:
        """The last state of a job that was deleted a moment ago."""
        return self._departed.get(job_id)

    @contextmanager
    def loading(self, job_id: str) -> Iterator[Loading]:
        """Read the job from disk within this, and keep what was read only if it is not outdated by then."""
        loading = Loading()
        self._loading.setdefault(job_id, set()).add(loading)
        try:
            yield loading
        finally:
            others = self._loading[job_id]
            others.discard(loading)
            if not others:
                del self._loading[job_id]

    def _outdate(self, job_id: str) -> None:
        for loading in self._loading.get(job_id, ()):
            loading.outdated = True
