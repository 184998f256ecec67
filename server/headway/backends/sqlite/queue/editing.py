"""Edits of jobs. A queued job whose priority or time changes gets another place in the queue."""

from datetime import datetime

from ....domain.audit import Action
from ....domain.filters import recorded_words
from ....domain.instants import to_ms
from ....domain.jobs import Edit, Job
from ....errors import EditedMeanwhileError, HeadwayError, JobNotFoundError
from ....ports.editing import WantedEdit
from ...memory.mirror import Changed, Mirror
from ...memory.running_limits import Group
from ..database import Database
from ..rows import metadata_json, to_job
from ..statements import SQL, getting
from ..transaction import Transaction
from .joining import fall_due
from .parking import IN_FRONT, PARKED_IN_FRONT, turn_of


async def carry_out(wanted: WantedEdit, database: Database, mirror: Mirror) -> Job:
    """Edit a job, then bring memory up to date. Raises what `Editing.edit` raises."""

    def operation(tx: Transaction) -> Changed | Job | HeadwayError:
        return edit(tx, wanted, mirror.snapshots.version(wanted.job_id))

    def committed(outcome: Changed | Job | HeadwayError) -> Job | HeadwayError:
        match outcome:
            case Changed(job=job):
                return mirror.update(job) if job.terminal else mirror.adopt(outcome)
            case Job():  # nothing has changed
                return mirror.snapshots.get(outcome.id) or outcome
            case _:
                return outcome

    edited = await database.write(operation, committed)
    if isinstance(edited, HeadwayError):
        raise edited
    return edited


def edit(tx: Transaction, wanted: WantedEdit, version: int) -> Changed | Job | HeadwayError:
    """Edit a job: what has changed, the job as it is if nothing has, or why it cannot be. `version`: the published one.

    An error is returned, because one that is raised would make the whole batch run again.
    """
    fall_due(tx, to_ms(wanted.now))
    row = tx.execute(getting(wanted.caller), {"id": wanted.job_id, "caller": wanted.caller}).fetchone()
    job = None if row is None else to_job(row)
    if job is None or (job.expires_at is not None and job.expires_at <= wanted.now):
        return JobNotFoundError(wanted.job_id)
    if wanted.tags is not None and job.edit_tag not in wanted.tags:
        return EditedMeanwhileError(f"The job's editTag is {job.edit_tag}.")
    try:
        after = wanted.change(job)
    except HeadwayError as error:
        return error
    return job if after == job.editable else _recorded(tx, wanted, job, after, version)


def _recorded(tx: Transaction, wanted: WantedEdit, job: Job, after: Edit, version: int) -> Changed:
    values = {
        **after._asdict(),
        "id": job.id,
        "run_at": to_ms(after.run_at),
        "metadata": metadata_json(after.metadata),
        "now": to_ms(wanted.now),
        "version": version,
    }
    edited = to_job(tx.execute(SQL["edit"], values).fetchone())
    if after.metadata != job.metadata:
        tx.forget_metadata(job)
        tx.index_metadata(edited)
    if after.label != job.label:
        tx.forget_words(job)
        tx.index_words(edited, recorded_words(edited))
    if (after.priority, after.run_at) != (job.priority, job.run_at):
        _queue_again(tx, job, edited, wanted.now)
    tx.audit_job(wanted.by, wanted.now, Action.EDIT, edited)
    return Changed(edited.status, edited)


def _queue_again(tx: Transaction, before: Job, job: Job, now: datetime) -> None:
    """Take a queued job out of its place, and give it the one that it has now."""
    turn, key_id = tx.execute(SQL["place"], {"id": job.id}).fetchone()
    tx.left_queue(before, key_id, turn)
    group = Group(job.owner, key_id, job.type)
    new_turn: int | None
    if job.run_at > now:
        new_turn = None
        tx.turns.falls_due(to_ms(job.run_at))
    elif turn in (IN_FRONT, PARKED_IN_FRONT):
        is_open = not tx.limits.in_force or tx.limits.enter(group, job.priority)
        new_turn = IN_FRONT if is_open else PARKED_IN_FRONT
    else:
        new_turn = turn_of(tx, group, job.priority)
    tx.execute(SQL["give_turn"], {"id": job.id, "turn": new_turn})
