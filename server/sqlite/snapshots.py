"""Jobs in memory: the running ones, the latest others, and those that just left. Bounded."""

from collections import OrderedDict

from ..jobs import Job, Status

MAX_RECENT = 10_000
MAX_DEPARTED = 2_000


class Snapshots:
    """The newest state of the jobs that somebody may ask for. Written in commit order, in the loop's thread."""

    def __init__(self) -> None:
        self._running: dict[str, Job] = {}
        self._recent: OrderedDict[str, Job] = OrderedDict()
        self._departed: OrderedDict[str, Job] = OrderedDict()
        self._loading: dict[str, int] = {}

    def get(self, job_id: str) -> Job | None:
        job = self._running.get(job_id)
        if job is None:
            job = self._recent.get(job_id)
            if job is not None:
                self._recent.move_to_end(job_id)
        return job

    def version(self, job_id: str) -> int:
        """The newest published version, 0 if unknown. Safe from the writer's thread: it only looks."""
        job = self._running.get(job_id) or self._recent.get(job_id)
        return 0 if job is None else job.version

    def put(self, job: Job) -> None:
        """The job has changed."""
        if job.id in self._loading:
            self._loading[job.id] += 1
        if job.status is Status.RUNNING:
            self._running[job.id] = job
            self._recent.pop(job.id, None)
            return
        self._running.pop(job.id, None)
        self._recent[job.id] = job
        self._recent.move_to_end(job.id)
        if len(self._recent) > MAX_RECENT:
            self._recent.popitem(last=False)

    def remove(self, job: Job) -> None:
        """The job has left; `job` is its last state."""
        if job.id in self._loading:
            self._loading[job.id] += 1
        self._running.pop(job.id, None)
        self._recent.pop(job.id, None)
        self._departed[job.id] = job
        if len(self._departed) > MAX_DEPARTED:
            self._departed.popitem(last=False)

    def departed(self, job_id: str) -> Job | None:
        return self._departed.get(job_id)

    def start_loading(self, job_id: str) -> int:
        """Say that the job is being read from disk; a token for `loaded`."""
        return self._loading.setdefault(job_id, 0)

    def loaded(self, job_id: str, token: int, job: Job | None) -> bool:
        """Keep what was read, unless the job changed meanwhile: then `False`, and the caller looks again."""
        unchanged = self._loading.get(job_id) == token
        if unchanged:
            self._loading.pop(job_id, None)
            if job is not None:
                self.put(job)
        return unchanged
