"""Many jobs in one transaction: places are held for all of them, then they join the queue."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from functools import partial

from ....domain.idempotency import FirstSubmission, IdempotencyKey
from ....domain.jobs import Job, NewJob
from ....errors import QueueFullError, QuotaExceededError
from ....ports.jobs import Outcomes, Refusal
from ...memory.mirror import Mirror
from ...memory.quotas import UNLIMITED, Hold, Quotas
from ..database import Database
from ..transaction import NO_JOB, Transaction
from .joining import insert
from .keys import first_with, remember


class Places:
    """Room for jobs on their way to the disk: it is held until they are counted, or were not written."""

    def __init__(self, mirror: Mirror, quotas: Quotas) -> None:
        self._mirror = mirror
        self._quotas = quotas
        self._holds: dict[tuple[str, str | None], Hold] = {}
        self._places: Counter[tuple[str, str]] = Counter()

    def take(self, new: NewJob, max_queued_of_type: int | None) -> Refusal | None:
        """Hold a place for one more job. Returns why there is none for it."""
        held = (new.owner, new.key_id)
        if (hold := self._holds.get(held)) is None:
            hold = self._holds[held] = self._quotas.hold(*held)
        try:
            self._mirror.census.check_room(new.owner, new.type, max_queued_of_type)
            if hold is not UNLIMITED:
                hold.grow(new.kept_bytes, 1)
        except (QueueFullError, QuotaExceededError) as error:
            return error
        self._mirror.census.reserve(new.owner, new.type)
        self._places[new.owner, new.type] += 1
        return None

    def take_all(self, batch: Sequence[tuple[NewJob, int | None]]) -> bool:
        """Hold places for jobs of one type without a quota at once. Whether that was possible; if not, none is held."""
        (first, max_queued), jobs = batch[0], len(batch)
        owner, job_type = first.owner, first.type
        if any(new.type != job_type for new, _ in batch) or self._quotas.hold(owner, first.key_id) is not UNLIMITED:
            return False
        if self._mirror.census.room(owner, job_type, max_queued) < jobs:
            return False
        self._mirror.census.reserve(owner, job_type, jobs)
        self._places[owner, job_type] += jobs
        return True

    def give_back(self) -> None:
        """Hold nothing any more."""
        for (owner, job_type), places in self._places.items():
            self._mirror.census.release(owner, job_type, places)
        for hold in self._holds.values():
            hold.release()


class Batch:
    """Jobs of one owner and API key on their way to the disk. Those for which there is room hold their places."""

    def __init__(self, mirror: Mirror, quotas: Quotas, batch: Sequence[tuple[NewJob, int | None]]) -> None:
        self._mirror = mirror
        self._now = batch[0][0].created_at
        self._places = Places(mirror, quotas)
        self._refusals: list[Refusal | None]
        if self._places.take_all(batch):
            self._refusals = [None] * len(batch)
        else:
            self._refusals = [self._places.take(new, max_queued_of_type) for new, max_queued_of_type in batch]
        self._jobs = [new for (new, _), refusal in zip(batch, self._refusals, strict=True) if refusal is None]

    async def insert(self, database: Database, outcomes: Outcomes, key: IdempotencyKey | None) -> str | FirstSubmission:
        """Write the jobs, and give the places back. Returns like `Submissions.insert_batch`."""
        try:
            outcomes_json = outcomes(self._refusals)
        except BaseException:
            self._places.give_back()
            raise

        def committed(written: list[Job] | FirstSubmission) -> str | FirstSubmission:
            self._places.give_back()
            if isinstance(written, FirstSubmission):
                return written
            self._mirror.accept_all(written)
            return outcomes_json

        operation = partial(_insert, jobs=self._jobs, key=key, outcomes_json=outcomes_json, now=self._now)
        return await database.write(operation, committed, self._places.give_back)


def _insert(
    tx: Transaction, jobs: Sequence[NewJob], key: IdempotencyKey | None, outcomes_json: str, now: datetime
) -> list[Job] | FirstSubmission:
    if key is not None and (first := first_with(tx, key, now)) is not None:
        return first
    if jobs:
        insert(tx, jobs)
        if key is not None:
            remember(tx, key, NO_JOB, outcomes_json)
    return [Job.queued(new) for new in jobs]
