"""What is done to jobs in a transaction: plain functions, called in the writer's thread.

None commits. None raises because a job has moved on: that is returned, so that one stale caller does not make a whole
batch run again.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from ...domain.access import EVERY_OWNER
from ...domain.attempts import Usage, ended_attempt
from ...domain.audit import SERVER, Action, Actor
from ...domain.deliveries import WebhookEvent
from ...domain.idempotency import FirstSubmission, IdempotencyKey
from ...domain.instants import to_ms
from ...domain.jobs import RECOVERY_VERSION_STEP, Job, NewJob, NewLogLine, Status, Transition
from ...domain.outcomes import (
    Cancelled,
    Completed,
    Failed,
    Interrupted,
    Outcome,
    Retry,
    after_crash,
    counted,
    transition_of,
)
from ...domain.progress import Progress
from ...ports.jobs import LogBatch
from ...quotas import utf8_bytes
from ..memory.mirror import Changed
from ..memory.running_limits import Group
from .queue.joining import insert
from .queue.keys import first_with, remember
from .queue.parking import come_back
from .rows import (
    COLUMN_COUNT,
    ID,
    Kept,
    Parameters,
    Row,
    attempt_values,
    completed_values,
    error_json,
    progress_parameters,
    tick_values,
    to_job,
)
from .statements import COMPLETE, INSERT_ATTEMPT, SQL, TICK, getting, in_statements
from .transaction import Transaction

FILES_EXPIRED_AT_ONCE = 100_000
"""Deleting the rows of one job with 50,000 files took 17 to 66 ms, in which others wait for the writer."""
LONGEST_BACKOFF_MS = 10 * 60 * 1000
"""No back-off is longer. A job that waits longer was queued by a clock that was ahead."""


def insert_once(tx: Transaction, new: NewJob, key: IdempotencyKey, *, refused: bool) -> FirstSubmission | None:
    """Insert a job with its key, unless the key is taken: then return what it stands for.

    `refused`: the queue is full, so nothing is inserted.
    """
    first = first_with(tx, key, new.created_at)
    if first is None and not refused:
        insert(tx, [new])
        remember(tx, key, new.id)
    return first


def forget_keys(tx: Transaction, now: datetime, limit: int) -> int:
    return tx.execute(SQL["forget_keys"], {"now": to_ms(now), "limit": limit}).rowcount


class Ended(NamedTuple):
    """The end of an attempt, with its last progress and log lines, and rows of its output files if it has many.

    `in_parts_bytes`: the size of a result that is in parts.
    """

    job: Job
    outcome: Outcome
    progress: Progress
    lines: Sequence[NewLogLine]
    now: datetime
    usage: Usage | None = None
    files: Sequence[Parameters] = ()
    in_parts_bytes: int | None = None


def finish(tx: Transaction, ended: Sequence[Ended], version_of: Callable[[str], int]) -> list[Changed | None]:
    """Record the ends of attempts; `None` for a stale attempt. `version_of` knows the published version of a job.

    If a cancel was recorded first, the outcome's own statement changes nothing, and the job is cancelled.
    """
    for one in ended:
        number_lines(tx, LogBatch(one.job.id, one.job.attempt, one.lines))
    completed = _complete(tx, ended, version_of)
    changes: list[Changed | None] = []
    for one in ended:
        changed = completed.pop(_key(one), None) or _end(tx, one, version_of(one.job.id))
        if changed is not None and changed.job.terminal and changed.job.purge_requested:
            tx.delete(changed.job)
            changed = changed._replace(deleted=True)
        changes.append(changed)
    _keep_attempts(tx, ended, changes)
    return changes


def _keep_attempts(tx: Transaction, ended: Sequence[Ended], changes: Sequence[Changed | None]) -> None:
    """Record the attempts of which the jobs' own rows do not say everything."""
    rows = [
        attempt_values(changed.job, attempt)
        for one, changed in zip(ended, changes, strict=True)
        if changed is not None and not changed.deleted
        if (attempt := ended_attempt(changed.job, one.outcome, one.usage)) is not None
    ]
    for statement, values in in_statements(INSERT_ATTEMPT, rows):
        tx.execute(statement, values)


def _complete(
    tx: Transaction, ended: Sequence[Ended], version_of: Callable[[str], int]
) -> dict[tuple[str, int], Changed]:
    """Complete the jobs whose attempts did. Those that are cancelled and stale attempts are not among the result."""
    rows = [
        completed_values(one.job, version_of(one.job.id), one.outcome, one.progress, one.now, one.in_parts_bytes)
        for one in ended
        if isinstance(one.outcome, Completed)
    ]
    moved = [row for statement, values in in_statements(COMPLETE, rows) for row in tx.execute(statement, values)]
    output = {values[0]: values[-1] for values in rows} if moved else {}
    completed: dict[tuple[str, int], Changed] = {}
    for row in moved:
        job = to_job(row)
        before = tx.moved(Transition.COMPLETE, job, Kept.of(row[COLUMN_COUNT:]), output[row[ID]])
        completed[job.id, job.attempt] = Changed(before, job)
    for one in ended:
        if one.files and _key(one) in completed:
            tx.executemany(SQL["insert_output_files"], one.files)
    return completed


def _key(ended: Ended) -> tuple[str, int]:
    return ended.job.id, ended.job.attempt


def _end(tx: Transaction, ended: Ended, version: int) -> Changed | None:
    """Record the end of an attempt that has not completed its job."""
    job, outcome = ended.job, ended.outcome
    where = progress_parameters(ended.progress) | _ending(outcome)
    where |= {"id": job.id, "attempt": job.attempt, "version": version, "now": to_ms(ended.now)}
    changed = None if isinstance(outcome, Completed) else _move(tx, transition_of(outcome), where)
    return changed or _move(tx, Transition.CANCEL, where)


def _move(tx: Transaction, transition: Transition, where: Parameters) -> Changed | None:
    """Perform a transition of one job; `None` if the job has moved on."""
    row = tx.execute(SQL[transition], where).fetchone()
    if row is None:
        return None
    job = to_job(row)
    if transition is Transition.CANCEL_QUEUED:
        *row, turn = row
        kept = Kept.of(row[COLUMN_COUNT:])
        tx.left_queue(job, kept.key_id, turn)
        return Changed(tx.moved(transition, job, kept), job)
    kept = Kept.of(row[COLUMN_COUNT:])
    before = tx.moved(transition, job, kept)
    if job.status is Status.QUEUED:
        tx.turns.falls_due(to_ms(job.run_at))
        if where["run_at"] is None and tx.limits.in_force:
            come_back(tx, job.id, Group(job.owner, kept.key_id, job.type), job.priority)
    return Changed(before, job)


def _ending(outcome: Outcome) -> Parameters:
    """The parameters that an outcome's statement takes beside those that all of them take."""
    match outcome:
        case Failed(error):
            return {"error": error_json(error), **counted(outcome)._asdict()}
        case Interrupted():
            return {"run_at": None, **counted(outcome)._asdict()}
        case Retry(_, run_at):
            return {"run_at": to_ms(run_at), **counted(outcome)._asdict()}
        case Completed() | Cancelled():
            return {}


def cancel(
    tx: Transaction,
    caller: str,
    job_id: str,
    version: int,
    now: datetime,
    by: Actor | None = None,
    *,
    purge: bool = False,
) -> Changed | None:
    """Cancel a queued job, or mark a running one. A job that has ended is returned as it is.

    `None`: there is no such job. `purge`: a running job is deleted when its attempt ends. A repetition changes nothing,
    so it has no entry in the audit trail: a client that repeats its request would fill it.
    """
    action = Action.DELETE if purge else Action.CANCEL
    where = {"id": job_id, "caller": caller, "now": to_ms(now), "version": version, "purge": int(purge)}
    found = tx.execute(getting(caller), where).fetchone()
    if found is None:
        return None
    cancelled = _move(tx, Transition.CANCEL_QUEUED, where)
    if cancelled is not None:
        tx.audit_job(by, now, action, cancelled.job)
        return cancelled
    job = to_job(found)
    row = tx.execute(SQL["request_cancel"], where).fetchone()
    if row is not None:
        if not job.cancel_requested or (purge and not job.purge_requested):
            tx.audit_job(by, now, action, job)
        return Changed(Status.RUNNING, to_job(row))
    if job.expires_at is not None and job.expires_at <= now:
        return None  # expired: no longer there for any client, though the sweep has yet to delete it
    return Changed(job.status, job)


def delete(
    tx: Transaction, caller: str, job_id: str, version: int, now: datetime, by: Actor | None = None
) -> Changed | None:
    """Cancel a job and delete it: at once, unless it is running. `None`: there is no such job."""
    changed = cancel(tx, caller, job_id, version, now, by, purge=True)
    if changed is None or not changed.job.terminal:
        return changed
    if changed.before is changed.job.status:  # it had ended, so the cancel changed nothing
        tx.audit_job(by, now, Action.DELETE, changed.job)
    tx.delete(changed.job)
    return changed._replace(deleted=True)


def delete_result(
    tx: Transaction, caller: str, job_id: str, version: int, now: datetime, by: Actor | None = None
) -> tuple[Job, Job] | None:
    """Delete an ended job's result: the job before and after; `None` if there is no such job, or it has not ended.

    A job without one is returned as it is, and has no entry in the audit trail, like a repeated `cancel`.
    """
    where: Parameters = {"id": job_id, "caller": caller, "now": to_ms(now), "version": version}
    found = tx.execute(getting(caller), where).fetchone()
    if found is None:
        return None
    before = to_job(found)
    where["freed"] = freed = tx.output_bytes(before)
    row = tx.execute(SQL["delete_result"], where).fetchone()
    if row is None:
        return (before, before) if before.terminal else None
    tx.execute(SQL["delete_output_files"], {"job_id": job_id})
    job = to_job(row)
    tx.grew(job.owner, job.type, job.status, Kept.of(row[COLUMN_COUNT:]).key_id, -freed)
    tx.audit_job(by, now, Action.DELETE_RESULT, job)
    return before, job


def recover(
    tx: Transaction,
    now: datetime,
    max_recoveries: int,
    by_type: Mapping[str, int],
    lines: Sequence[NewLogLine],
) -> list[Changed]:
    """Move every running job on. This process owns the file and has just started, so nobody runs it."""
    latest_ms = to_ms(now) + LONGEST_BACKOFF_MS
    tx.execute(SQL["due_again"], {"now": to_ms(now), "latest": latest_ms})
    tx.turns.falls_due(to_ms(now))
    jobs = [to_job(row) for row in tx.execute(SQL["running"]).fetchall()]
    versions = {job.id: job.version + RECOVERY_VERSION_STEP for job in jobs}
    ended = [
        Ended(job, after_crash(job, by_type.get(job.type, max_recoveries)), job.progress, lines, now) for job in jobs
    ]
    # None is stale: all were read in this transaction.
    return [changed for changed in finish(tx, ended, versions.__getitem__) if changed is not None]


def number_lines(tx: Transaction, batch: LogBatch) -> int | None:
    """Append log lines to the history; the job's new `last_seq`, or `None` if the attempt is not current."""
    if not batch.lines:
        return None
    size_bytes = sum(utf8_bytes(line.message) for line in batch.lines)
    where = {"id": batch.job_id, "attempt": batch.attempt, "lines": len(batch.lines), "bytes": size_bytes}
    rows = tx.execute(SQL["number_log"], where).fetchall()
    if not rows:
        return None
    last_seq, owner, job_type, *kept = rows[0]
    tx.grew(owner, job_type, Status.RUNNING, Kept.of(kept).key_id, size_bytes)
    first = last_seq - len(batch.lines) + 1
    tx.executemany(
        SQL["insert_history"],
        [
            _history(batch.job_id, seq, line.at, "log", line.level, line.message)
            for seq, line in enumerate(batch.lines, first)
        ],
    )
    return int(last_seq)


def write_ticks(tx: Transaction, jobs: Sequence[Job]) -> None:
    """Record the progress of running jobs, and announce it where a webhook asks for it."""
    written: set[str] = set()
    for statement, values in in_statements(TICK, [tick_values(job) for job in jobs]):
        written.update(job_id for (job_id,) in tx.execute(statement, values))
    for job in jobs:
        if job.announces(WebhookEvent.PROGRESS) and job.id in written:
            tx.announce(WebhookEvent.PROGRESS, job)


def checkpoint(tx: Transaction, job_id: str, attempt: int, checkpoint_json: str) -> bool:
    """Record a checkpoint. Returns whether it was: the attempt may be stale."""
    size_bytes = utf8_bytes(checkpoint_json)
    where = {"id": job_id, "attempt": attempt, "checkpoint": checkpoint_json, "bytes": size_bytes}
    before = tx.execute(SQL["checkpoint_bytes"], where).fetchone()
    rows = tx.execute(SQL["checkpoint"], where).fetchall()
    if not rows:
        return False
    owner, job_type, *kept = rows[0]
    tx.grew(owner, job_type, Status.RUNNING, Kept.of(kept).key_id, size_bytes - before[0])
    return True


def expire(tx: Transaction, now: datetime, limit: int) -> list[Changed]:
    rows = tx.execute(SQL["expired"], {"now": to_ms(now), "limit": limit}).fetchall()
    expired: list[tuple[Job, int]] = []
    files = 0
    for *row, number in rows:
        job = to_job(tuple(row))
        expired.append((job, number))
        files += job.files_total
        if files >= FILES_EXPIRED_AT_ONCE:
            break
    for job, number in expired:
        tx.delete(job, number)
        tx.audit_job(SERVER, now, Action.EXPIRE, job)
    return [Changed(job.status, job, deleted=True) for job, _ in expired]


def delete_ended(tx: Transaction, found: Sequence[Row]) -> list[Changed]:
    """Delete those of the jobs that have ended, and release pages of the file. `found`: their ids and rows."""
    deleted: list[Changed] = []
    for job_id, number in found:
        row = tx.execute(getting(EVERY_OWNER), {"id": job_id}).fetchone()
        row = row or tx.execute(SQL["get_row"], {"row": number}).fetchone()  # its id is damaged
        if row is not None and row[ID] == job_id and (job := to_job(row)).terminal and tx.delete(job, number):
            deleted.append(Changed(job.status, job, deleted=True))
    tx.execute(SQL["incremental_vacuum"]).fetchall()
    return deleted


def _history(job_id: str, seq: int, at: datetime, kind: str, level: str, message: str) -> Parameters:
    return {"job_id": job_id, "seq": seq, "at": to_ms(at), "kind": kind, "level": level, "message": message}
