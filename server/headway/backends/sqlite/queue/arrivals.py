"""Jobs that are submitted one by one: their places are held, and they are written and counted together."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from ....domain.jobs import Job, NewJob
from ...memory.mirror import Mirror
from ...memory.quotas import UNLIMITED, Hold, Quotas
from ..pending import Rows
from ..transaction import Transaction
from .joining import insert


class Arrival(NamedTuple):
    """A job on its way to the disk, and its place in its quotas. Its place in the queue is reserved."""

    new: NewJob
    hold: Hold


class Arrivals(Rows[Arrival, Job]):
    """The `Rows` of submissions: dozens of clients submit at the same time, and what can is done once for all."""

    def __init__(self, mirror: Mirror, quotas: Quotas) -> None:
        self._mirror = mirror
        self._quotas = quotas

    def take_place(self, new: NewJob, max_queued_of_type: int | None) -> Arrival:
        """Raises `QueueFullError` and `QuotaExceededError` if there is no place for the job."""
        census = self._mirror.census
        census.check_room(new.owner, new.type, max_queued_of_type)
        hold = self.hold_quota(new)
        census.reserve(new.owner, new.type)
        return Arrival(new, hold)

    def hold_quota(self, new: NewJob) -> Hold:
        """Hold the place of a new job in its quotas. Raises `QuotaExceededError`."""
        hold = self._quotas.hold(new.owner, new.key_id)
        if hold is not UNLIMITED:
            hold.grow(new.kept_bytes, 1)
        return hold

    def write(self, tx: Transaction, rows: Sequence[Arrival]) -> None:
        insert(tx, [arrival.new for arrival in rows])

    def committed(self, rows: Sequence[Arrival]) -> list[Job]:
        self.failed(rows)  # from here on the jobs are counted themselves
        jobs = [Job.queued(arrival.new) for arrival in rows]
        self._mirror.accept_all(jobs)
        return jobs

    def failed(self, rows: Sequence[Arrival]) -> None:
        """Give their places back."""
        for (owner, job_type), places in Counter([(new.owner, new.type) for new, _ in rows]).items():
            self._mirror.census.release(owner, job_type, places)
        for _, hold in rows:
            if hold is not UNLIMITED:
                hold.release()
