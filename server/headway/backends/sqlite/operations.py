"""What is done to jobs in a transaction: plain functions, called in the writer's thread.

None commits. None raises because a job has moved on: that is returned, so that one stale caller does not make a whole
batch run again.
"""

import heapq
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from ...domain.access import EVERY_OWNER
from ...domain.attempts import Usage, ended_attempt
from ...domain.deliveries import WebhookEvent
from ...domain.idempotency import FirstSubmission, IdempotencyKey
from ...domain.instants import nearest_to_ms, to_ms
from ...domain.jobs import RECOVERY_VERSION_STEP, Claim, Job, NewJob, NewLogLine, Status, Transition
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
from ...ports.jobs import Claims, FreeSlots, LogBatch
from ...quotas import utf8_bytes
from ..memory.mirror import Changed
from .rows import (
    COLUMN_COUNT,
    ID,
    Kept,
    Parameters,
    attempt_values,
    completed_values,
    error_json,
    new_job_values,
    progress_parameters,
    tick_values,
    to_job,
)
from .statements import COMPLETE, INSERT, INSERT_ATTEMPT, SQL, TICK, getting, in_statements
from .transaction import Transaction

_Candidate = tuple[int, int, str, str]
"""A job that could be claimed: its priority, negated, milliseconds of `run_at`, id and type. Sorts as claims do."""

ABOVE_ALL_PRIORITIES = 1 << 31  # above every priority
FILES_EXPIRED_AT_ONCE = 100_000
"""Deleting the rows of one job with 50,000 files took 17 to 66 ms, in which others wait for the writer."""
LONGEST_BACKOFF_MS = 10 * 60 * 1000
"""No back-off is longer. A job that waits longer was queued by a clock that was ahead."""


def insert(tx: Transaction, jobs: Sequence[NewJob]) -> None:
    """Insert jobs, in as few statements as the sizes allow."""
    rows = [new_job_values(new) for new in jobs]
    for statement, values in in_statements(INSERT, rows):
        tx.execute(statement, values)
    for new, row in zip(jobs, rows, strict=True):
        tx.inserted(new, row[-1])


def insert_once(tx: Transaction, new: NewJob, key: IdempotencyKey, *, refused: bool) -> FirstSubmission | None:
    """Insert a job with its key, unless the key is taken: then return what it stands for.

    `refused`: the queue is full, so nothing is inserted.
    """
    where: Parameters = {"owner": key.owner, "key": key.key, "now": to_ms(new.created_at)}
    row = tx.execute(SQL["first_with_key"], where).fetchone()
    if row is not None:
        return FirstSubmission(*row)
    if not refused:
        insert(tx, [new])
        where |= {"job_id": new.id, "fingerprint": key.fingerprint, "expires_at": to_ms(key.expires_at)}
        tx.execute(SQL["insert_key"], where)
    return None


def forget_keys(tx: Transaction, now: datetime, limit: int) -> int:
    return tx.execute(SQL["forget_keys"], {"now": to_ms(now), "limit": limit}).rowcount


def claim(
    tx: Transaction,
    pools: Sequence[FreeSlots],
    now: datetime,
    median_s: Callable[[str], float | None],
) -> Claims:
    """Take the first due jobs of each pool, and find out when the next one falls due."""
    chosen: list[_Candidate] = []
    next_due: list[int] = []
    for pool in pools:
        candidates: list[_Candidate] = []
        for job_type, slots in pool.of_type.items():
            if (limit := min(slots, pool.total)) > 0:  # to SQLite a negative limit is none at all
                candidates += _first_due(tx, job_type, limit, now, next_due)
        chosen += heapq.nsmallest(pool.total, candidates)
    started = _start(tx, {job_id: job_type for _, _, job_id, job_type in sorted(chosen)}, now, median_s)
    return Claims(started, nearest_to_ms(min(next_due)) if next_due else None)


def _first_due(tx: Transaction, job_type: str, limit: int, now: datetime, next_due: list[int]) -> list[_Candidate]:
    """The type's first due jobs. For each priority, `next_due` gets the time at which the next one falls due.

    Seeks in an index of the type: it does not matter how many jobs of this or of other types are queued.
    """
    found: list[_Candidate] = []
    for priority in _priorities(tx, job_type):
        where = {"type": job_type, "priority": priority, "now": to_ms(now), "limit": limit - len(found)}
        rows = tx.execute(SQL["claim_candidates"], where).fetchall()
        found += [(-priority, run_at, job_id, job_type) for run_at, job_id in rows]
        next_due += tx.execute(SQL["next_due"], where).fetchone() or ()
    return found


def _priorities(tx: Transaction, job_type: str) -> list[int]:
    """The priorities of queued jobs, highest first: one seek for each, however many jobs there are."""
    found: list[int] = []
    below = ABOVE_ALL_PRIORITIES
    while row := tx.execute(SQL["next_priority"], {"type": job_type, "below": below}).fetchone():
        below = row[0]
        found.append(below)
    return found


def _start(
    tx: Transaction, chosen: Mapping[str, str], now: datetime, median_s: Callable[[str], float | None]
) -> list[Claim]:
    """Begin an attempt of each chosen job: one statement for all jobs of a type."""
    started: dict[str, Claim] = {}
    for job_type in set(chosen.values()):
        median = median_s(job_type)
        where = {
            "ids": json.dumps([job_id for job_id, of_type in chosen.items() if of_type == job_type]),
            "now": to_ms(now),
            "eta_s": None if median is None else round(median),
        }
        for row in tx.execute(SQL[Transition.CLAIM], where).fetchall():
            job = to_job(row)
            tx.moved(Transition.CLAIM, job, Kept.of(row[COLUMN_COUNT:-2]))
            started[job.id] = Claim(job, *row[-2:])
    return [started[job_id] for job_id in chosen]


class Ended(NamedTuple):
    """The end of an attempt, with its last progress and log lines, and rows of its output files if it has many."""

    job: Job
    outcome: Outcome
    progress: Progress
    lines: Sequence[NewLogLine]
    now: datetime
    usage: Usage | None = None
    files: Sequence[Parameters] = ()


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
            changed = replace(changed, deleted=True)
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
        completed_values(one.job, version_of(one.job.id), one.outcome, one.progress, one.now)
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
    return Changed(tx.moved(transition, job, Kept.of(row[COLUMN_COUNT:])), job)


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
    tx: Transaction, caller: str, job_id: str, version: int, now: datetime, *, purge: bool = False
) -> Changed | None:
    """Cancel a queued job, or mark a running one. A job that has ended is returned as it is.

    `None`: there is no such job. `purge`: a running job is deleted when its attempt ends.
    """
    where = {"id": job_id, "caller": caller, "now": to_ms(now), "version": version, "purge": int(purge)}
    found = tx.execute(getting(caller), where).fetchone()
    if found is None:
        return None
    cancelled = _move(tx, Transition.CANCEL_QUEUED, where)
    if cancelled is not None:
        return cancelled
    row = tx.execute(SQL["request_cancel"], where).fetchone()
    if row is not None:
        return Changed(Status.RUNNING, to_job(row))
    job = to_job(found)
    if job.expires_at is not None and job.expires_at <= now:
        return None  # expired: no longer there for any client, though the sweep has yet to delete it
    return Changed(job.status, job)


def delete(tx: Transaction, caller: str, job_id: str, version: int, now: datetime) -> Changed | None:
    """Cancel a job and delete it: at once, unless it is running. `None`: there is no such job."""
    changed = cancel(tx, caller, job_id, version, now, purge=True)
    if changed is None or not changed.job.terminal:
        return changed
    tx.delete(changed.job)
    return replace(changed, deleted=True)


def delete_result(tx: Transaction, caller: str, job_id: str, version: int, now: datetime) -> Job | None:
    """Delete an ended job's result; `None` if there is no such job, or it has not ended."""
    where: Parameters = {"id": job_id, "caller": caller, "now": to_ms(now), "version": version}
    found = tx.execute(getting(caller), where).fetchone()
    if found is None:
        return None
    where["freed"] = freed = tx.output_bytes(to_job(found))
    row = tx.execute(SQL["delete_result"], where).fetchone()
    if row is None:
        return None
    tx.execute(SQL["delete_output_files"], {"job_id": job_id})
    job = to_job(row)
    tx.grew(job.owner, job.type, job.status, Kept.of(row[COLUMN_COUNT:]).key_id, -freed)
    return job


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
    expired: list[Job] = []
    files = 0
    for job in map(to_job, rows):
        expired.append(job)
        files += job.files_total
        if files >= FILES_EXPIRED_AT_ONCE:
            break
    for job in expired:
        tx.delete(job)
    return [Changed(job.status, job, deleted=True) for job in expired]


def delete_ended(tx: Transaction, job_ids: Sequence[str]) -> list[Changed]:
    """Delete those of the jobs that have ended, and release pages of the file."""
    rows = [tx.execute(getting(EVERY_OWNER), {"id": job_id}).fetchone() for job_id in job_ids]
    ended = [job for row in rows if row is not None and (job := to_job(row)).terminal]
    for job in ended:
        tx.delete(job)
    tx.execute(SQL["incremental_vacuum"]).fetchall()
    return [Changed(job.status, job, deleted=True) for job in ended]


def _history(job_id: str, seq: int, at: datetime, kind: str, level: str, message: str) -> Parameters:
    return {"job_id": job_id, "seq": seq, "at": to_ms(at), "kind": kind, "level": level, "message": message}
