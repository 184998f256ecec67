"""What memory knows of the record, brought up to date after every commit, and the bells that are rung then."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from itertools import islice
from typing import NamedTuple

from ...domain.deliveries import WebhookEvent
from ...domain.jobs import EVENT_OF, Job, Status
from ...ports.events import Bell, EventHub
from ...ports.jobs import Tick
from .census import Census
from .snapshots import Snapshots


class Changed(NamedTuple):
    """What a transaction did to a job: its state before, the job now, and whether its record is gone."""

    before: Status
    job: Job
    deleted: bool = False


class Mirror:
    """Jobs in memory. Its methods are called in commit order, in the loop's thread.

    Between two commits memory is ahead of the disk by the progress of running jobs: ticks are published here and
    written later. So a commit is not adopted as it is, but with the progress that was published meanwhile.
    """

    def __init__(self, hub: EventHub, census: Census) -> None:
        self.snapshots = Snapshots()
        self.census = census
        self._hub = hub
        self._unwritten: dict[str, None] = {}
        """By job id, those that have waited longest first."""
        self._ending: dict[tuple[str, int], int] = {}
        self.deleted: Callable[[Job], None] | None = None
        """Told of each job whose record is gone."""

    # After a commit

    def accept(self, job: Job) -> Job:
        """A new job is on disk."""
        self.accept_all([job])
        return job

    def accept_all(self, jobs: Sequence[Job]) -> None:
        """New jobs are on disk."""
        for (owner, job_type), arrived in Counter([(job.owner, job.type) for job in jobs]).items():
            self.census.count(owner, job_type, Status.QUEUED, arrived)
        self.snapshots.add(jobs)
        job_ids = [job.id for job in jobs]
        self._hub.ring_all(Bell.CHANGED, job_ids)
        self._hub.ring_all(Bell.QUEUED, job_ids)

    def begin(self, jobs: Sequence[Job]) -> None:
        """Attempts of these jobs, which were queued, have begun on disk."""
        for (owner, job_type), begun in Counter([(job.owner, job.type) for job in jobs]).items():
            self.census.moved(owner, job_type, Status.QUEUED, Status.RUNNING, begun)
        for job in jobs:
            self.snapshots.put(job)
        self._hub.ring_all(Bell.CHANGED, [job.id for job in jobs])
        if announced := [job.id for job in jobs if job.webhook and job.announces(WebhookEvent.STARTED)]:
            self._hub.ring_all(Bell.OUTBOX, announced)

    def adopt(self, changed: Changed) -> Job:
        """A job has changed on disk. Returns it as it is now published."""
        before, job, deleted = changed
        after = job.status
        if after is Status.RUNNING and before is Status.RUNNING:
            job = self._newest(job)
        if deleted:
            self.census.count(job.owner, job.type, before, -1)
        elif after is not before:
            self.census.moved(job.owner, job.type, before, after)
        elif job.terminal:
            return job  # it had ended before, and nothing was changed
        if before is Status.RUNNING and after is Status.COMPLETED:
            self.census.ran(job)
        if deleted:
            self.snapshots.remove(job)
            if self.deleted is not None:
                self.deleted(job)
            self._hub.ring(Bell.DELETED, job.id)
        else:
            self.snapshots.put(job)
        self._hub.ring(Bell.CHANGED, job.id)
        if job.webhook is not None and job.announces(EVENT_OF.get(job.status)):
            self._hub.ring(Bell.OUTBOX, job.id)
        if after is Status.QUEUED and not deleted:
            self._hub.ring(Bell.QUEUED, job.id)
        return job

    def adopt_all(self, changes: Iterable[Changed]) -> list[Job]:
        """`adopt` several, in order."""
        return [self.adopt(changed) for changed in changes]

    def update(self, job: Job) -> Job:
        """Something about a job has changed on disk, but not its state."""
        self.snapshots.put(job)
        self._hub.ring(Bell.CHANGED, job.id)
        return job

    def _newest(self, job: Job) -> Job:
        """A running job as committed, with the progress of the ticks that are not on disk yet."""
        live = self.snapshots.live(job.id)
        if live is None or live.recorded.attempt != job.attempt:
            return job
        held = live.job
        self._unwritten[job.id] = None
        version = max(job.version, held.version + 1)  # ticks may have been published since the commit began
        return job._replace(progress=held.progress, version=version)

    # Ahead of the disk

    def tick(self, ticks: Sequence[Tick], now: datetime) -> None:
        """Publish progress. That of an attempt that is stale, or whose end is on its way to the disk, is dropped."""
        published: list[str] = []
        for job_id, attempt, progress in ticks:
            live = self.snapshots.live(job_id)
            if live is None or live.recorded.attempt != attempt:
                continue
            if self._ending and (job_id, attempt) in self._ending:
                continue  # the end carries the last progress, and a tick could overtake its version
            self.snapshots.tick(live, progress, now)
            published.append(job_id)
        self._unwritten |= dict.fromkeys(published)
        self._hub.ring_all(Bell.CHANGED, published)

    @property
    def unwritten(self) -> int:
        """Of how many jobs the progress is not on disk."""
        return len(self._unwritten)

    def take_unwritten(self, most: int | None = None) -> list[Job]:
        """The running jobs whose progress is not on disk, `most` of them, those that have waited longest. From now on
        they count as written.
        """
        ids = list(islice(self._unwritten, most))
        for job_id in ids:
            del self._unwritten[job_id]
        return [live.job for job_id in ids if (live := self.snapshots.live(job_id))]

    def keep_unwritten(self, jobs: Iterable[Job]) -> None:
        """The progress of these jobs could not be written."""
        self._unwritten |= dict.fromkeys(job.id for job in jobs)

    def ticks_written(self, jobs: Iterable[Job]) -> None:
        """The progress of these jobs is on disk, and so are its deliveries."""
        for job in jobs:
            if job.announces(WebhookEvent.PROGRESS):
                self._hub.ring(Bell.OUTBOX, job.id)

    def ending(self, job: Job) -> Callable[[], None]:
        """An attempt's end is on its way to the disk: drop its ticks until the returned function is called."""
        attempt = (job.id, job.attempt)
        self._ending[attempt] = self._ending.get(attempt, 0) + 1

        def settled() -> None:
            if left := self._ending.pop(attempt) - 1:
                self._ending[attempt] = left

        return settled
