"""Actions in the record: what each step does to jobs, and what is still to be done, in one transaction."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from ....domain.access import EVERY_OWNER
from ....domain.idempotency import FirstSubmission, IdempotencyKey
from ....domain.jobs import Job, NewJob, Status
from ....errors import ClaimLostError, HeadwayError, OwnerQueueFullError, QuotaExceededError
from ....ports.actions import ACTION_TYPE, MOST_ACTIVE, ActionKind, Effect, Handled, Step
from ....ports.events import Bell, EventHub
from ....quotas import utf8_bytes
from ...memory.mirror import Changed, Mirror
from ...memory.quotas import NO_KEY, UNLIMITED, Hold, Quotas
from ...memory.snapshots import Snapshots
from .. import operations
from ..database import Database
from ..queue.batches import Places
from ..queue.joining import insert
from ..queue.keys import first_with, remember
from ..rows import to_job
from ..statements import SQL, getting
from ..transaction import Transaction

RETRY_WHEN_ACTIVE_S = 5


class SqliteActions:
    """The embedded `Actions`."""

    def __init__(self, database: Database, hub: EventHub, mirror: Mirror, quotas: Quotas) -> None:
        self._database = database
        self._hub = hub
        self._mirror = mirror
        self._quotas = quotas
        self._inserting: Counter[tuple[str, str]] = Counter()
        """By owner and idempotency key: simultaneous repeats share one place."""

    def check_room(self, owner: str) -> None:
        active = self._mirror.census.active_of(owner, ACTION_TYPE)
        active += sum(of_owner == owner for of_owner, _ in self._inserting)
        if active >= MOST_ACTIVE:
            raise OwnerQueueFullError(f"{active} actions of this owner have not ended", RETRY_WHEN_ACTIVE_S)

    async def insert(
        self, new: NewJob, checkpoint_json: str, key: IdempotencyKey | None = None
    ) -> Job | FirstSubmission:
        refusal: OwnerQueueFullError | QuotaExceededError | None = None
        slot, hold = (new.owner, new.id if key is None else key.key), UNLIMITED
        try:
            if not self._inserting[slot]:
                self.check_room(new.owner)
                hold = self._hold_place(new)
        except (OwnerQueueFullError, QuotaExceededError) as error:
            refusal = error  # unless it is a repeat, which only the transaction knows
        if refusal is not None and key is None:
            raise refusal

        def committed(first: FirstSubmission | None) -> Job | FirstSubmission | None:
            settled()
            return first if first is not None or refusal is not None else self._mirror.accept(Job.queued(new))

        def settled() -> None:
            hold.release()
            self._inserting[slot] -= 1
            if not self._inserting[slot]:
                del self._inserting[slot]

        self._inserting[slot] += 1
        operation = partial(_insert, new=new, checkpoint_json=checkpoint_json, key=key, refused=refusal is not None)
        accepted = await self._database.write(operation, committed, settled)
        if accepted is None:
            raise refusal or AssertionError("with room there is either the action or the first submission")
        return accepted

    def _hold_place(self, new: NewJob) -> Hold:
        """Hold the place of an action in its quotas. A full one refuses it only if its owner keeps many actions.

        Raises `QuotaExceededError`.
        """
        hold = self._quotas.hold(new.owner, new.key_id)
        if hold is not UNLIMITED:
            try:
                hold.grow(new.kept_bytes, 1)
            except QuotaExceededError:
                if self._mirror.census.kept_of(new.owner, ACTION_TYPE) >= MOST_ACTIVE:
                    raise
        return hold

    async def perform(self, step: Step, checkpoint: Callable[[Sequence[Handled]], str]) -> Sequence[Handled]:
        places = Places(self._mirror, self._quotas)
        refused = dict(step.refused)
        for job_id, (new, max_queued_of_type) in step.repetitions.items():
            if (refusal := places.take(new, max_queued_of_type)) is not None:
                refused[job_id] = refusal

        def operation(tx: Transaction) -> _Performed | None:
            return _perform(tx, step, refused, self._mirror.snapshots, checkpoint)

        def committed(performed: _Performed | None) -> _Performed | None:
            places.give_back()
            if performed is not None:
                self._adopt(performed)
            return performed

        performed = await self._database.write(operation, committed, places.give_back)
        if performed is None:
            raise ClaimLostError(f"attempt {step.attempt} of action {step.action_id} is not current")
        return performed.handled

    def _adopt(self, performed: "_Performed") -> None:
        for changed in performed.changed:
            if changed.job.status is Status.RUNNING:
                self._hub.ring(Bell.CANCEL, changed.job.id)
            self._mirror.adopt(changed)
        self._mirror.accept_all([Job.queued(new) for new in performed.inserted])


class _Performed(NamedTuple):
    handled: list[Handled]
    changed: list[Changed]
    inserted: list[NewJob]


def _insert(
    tx: Transaction, new: NewJob, checkpoint_json: str, key: IdempotencyKey | None, *, refused: bool
) -> FirstSubmission | None:
    first = None if key is None else first_with(tx, key, new.created_at)
    if first is None and not refused:
        insert(tx, [new])
        size_bytes = utf8_bytes(checkpoint_json)
        tx.execute(SQL["begin_action"], {"id": new.id, "checkpoint": checkpoint_json, "bytes": size_bytes})
        tx.grew(new.owner, new.type, Status.QUEUED, new.key_id or NO_KEY, size_bytes)
        if key is not None:
            remember(tx, key, new.id)
    return first


def _perform(
    tx: Transaction,
    step: Step,
    refused: Mapping[str, HeadwayError],
    snapshots: Snapshots,
    checkpoint: Callable[[Sequence[Handled]], str],
) -> _Performed | None:
    """`None` for a stale attempt, and for an action that was cancelled."""
    if tx.execute(SQL["is_current_action"], {"id": step.action_id, "attempt": step.attempt}).fetchone() is None:
        return None
    performed = _Performed([], [], [])
    for job_id in step.job_ids:
        performed.handled.append(_handle(tx, step, job_id, refused.get(job_id), snapshots, performed))
        tx.give_way()
    if performed.inserted:
        insert(tx, performed.inserted)
    operations.checkpoint(tx, step.action_id, step.attempt, checkpoint(performed.handled))
    return performed


def _handle(
    tx: Transaction,
    step: Step,
    job_id: str,
    refusal: HeadwayError | None,
    snapshots: Snapshots,
    performed: _Performed,
) -> Handled:
    """Do to one job what the action is for. A job that is gone or no longer matches is not refused."""
    row = tx.execute(getting(step.caller), {"id": job_id, "caller": step.caller}).fetchone()
    job = None if row is None else to_job(row)
    if job is None or (job.expires_at is not None and job.expires_at <= step.now):
        return Handled(job_id, Effect.NOT_FOUND if step.filter is None else Effect.SKIPPED)
    if step.filter is not None and not step.filter.matches(_published(job, snapshots)):
        return Handled(job_id, Effect.SKIPPED, job)
    if refusal is not None:
        return Handled(job_id, Effect.REFUSED, job, refusal)
    if step.kind is ActionKind.RETRY:
        return _repeat(step, job, performed)
    return _cancel_or_delete(tx, step, job, snapshots.version(job_id), performed)


def _published(job: Job, snapshots: Snapshots) -> Job:
    """The job as lists show it: the progress of one that runs may not be on disk yet."""
    live = snapshots.live(job.id) if job.status is Status.RUNNING else None
    if live is None or live.recorded.attempt != job.attempt:
        return job
    return job._replace(progress=live.progress, updated_at=live.updated_at)


def _cancel_or_delete(tx: Transaction, step: Step, job: Job, version: int, performed: _Performed) -> Handled:
    change = operations.cancel if step.kind is ActionKind.CANCEL else operations.delete
    changed = change(tx, EVERY_OWNER, job.id, version, step.now, step.by)
    if changed is None:
        return Handled(job.id, Effect.NOT_FOUND)
    if job.terminal and not changed.deleted:
        return Handled(job.id, Effect.UNCHANGED if job.status is Status.CANCELLED else Effect.CONFLICT, job)
    performed.changed.append(changed)
    return Handled(job.id, Effect.DONE if changed.job.terminal else Effect.STOPPING, changed.job)


def _repeat(step: Step, job: Job, performed: _Performed) -> Handled:
    if not job.terminal or job.id not in step.repetitions:
        return Handled(job.id, Effect.CONFLICT, job)
    performed.inserted.append(step.repetitions[job.id][0])
    return Handled(job.id, Effect.DONE, job)
