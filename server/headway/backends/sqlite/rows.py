"""Rows to records and back. Only this module knows the order of the columns."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from operator import itemgetter
from typing import Any

from ...domain.deliveries import Webhook, WebhookEvent
from ...domain.instants import from_ms, to_ms
from ...domain.jobs import Job, JobError, LogLine, NewJob, OutputFile, Status, UploadedFile
from ...domain.outcomes import Completed
from ...domain.progress import Progress

Row = tuple[Any, ...]
Parameters = dict[str, Any]

COLUMNS = (
    "id, owner, type, label, status, priority, created_at, run_at, started_at, updated_at, completed_at, "
    "expires_at, attempt, max_attempts, failures, recoveries, interruptions, cancel_requested, "
    "purge_requested, percent, done, total, unit, message, step, rate_per_second, eta_s, error, files, "
    "result_bytes, retry_of, timeout_s, retain_s, uploads, last_seq, state_seq, version, result_url, "
    "webhook"
)
COLUMN_COUNT = COLUMNS.count(",") + 1
DELIVERY_COLUMNS = (
    "id, job_id, owner, event, url, host, status, taken, due_at, attempts, tries, created_at, last_attempt_at, "
    "ended_at, last_status, last_error"
)
ID, STATUS, ENDED_AT = 0, 4, 10
"""Positions in `COLUMNS`."""


def to_job(row: Row) -> Job:
    """The job in a row that begins with `COLUMNS`."""
    return Job(
        id=row[0],
        owner=row[1],
        type=row[2],
        label=row[3],
        status=Status(row[4]),
        priority=row[5],
        created_at=from_ms(row[6]),
        run_at=from_ms(row[7]),
        started_at=None if row[8] is None else from_ms(row[8]),
        updated_at=from_ms(row[9]),
        completed_at=None if row[10] is None else from_ms(row[10]),
        expires_at=None if row[11] is None else from_ms(row[11]),
        attempt=row[12],
        max_attempts=row[13],
        failures=row[14],
        recoveries=row[15],
        interruptions=row[16],
        cancel_requested=bool(row[17]),
        purge_requested=bool(row[18]),
        progress=Progress(*row[19:27]),
        error=None if row[27] is None else JobError(**json.loads(row[27])),
        files=tuple(OutputFile(**file) for file in json.loads(row[28])) if row[28] else (),
        result_bytes=row[29],
        retry_of=row[30],
        timeout_s=row[31],
        retain_s=row[32],
        uploads=tuple(UploadedFile(**file) for file in json.loads(row[33])) if row[33] else (),
        last_seq=row[34],
        state_seq=row[35],
        version=row[36],
        result_url=row[37],
        webhook=None if row[38] is None else to_webhook(row[38]),
    )


def first_active(rows: Sequence[Row], limit: int) -> list[Row]:
    """The first `limit` active jobs of several owners, running ones first, newest first; then as many that ended."""
    newest = sorted(rows, key=itemgetter(ID), reverse=True)
    running, queued = ([row for row in newest if row[STATUS] == status] for status in ("running", "queued"))
    ended = sorted((row for row in rows if row[ENDED_AT] is not None), key=itemgetter(ENDED_AT), reverse=True)
    return (running + queued)[:limit] + ended[:limit]


def to_log_line(row: Row) -> LogLine:
    seq, at, level, message = row
    return LogLine(seq=seq, at=from_ms(at), level=level, message=message)


def new_job_values(new: NewJob) -> Row:
    """The values for `queries/insert.sql`, in its order."""
    created_at = to_ms(new.created_at)
    return (
        new.id,
        new.owner,
        new.type,
        new.label,
        new.priority,
        created_at,
        created_at if new.run_at is new.created_at else to_ms(new.run_at),
        created_at,
        new.max_attempts,
        new.timeout_s,
        new.retain_s,
        files_json(new.uploads),
        new.retry_of,
        None if new.webhook is None else webhook_json(new.webhook),
        new.input_json,
    )


def completed_values(job: Job, version: int, outcome: Completed, progress: Progress, now: datetime) -> Row:
    """The values for `queries/complete.sql`, in its order."""
    return (
        job.id,
        job.attempt,
        version,
        to_ms(now),
        progress.done,
        progress.total,
        progress.unit,
        progress.message,
        progress.step,
        outcome.result_json,
        len(outcome.result_json.encode()),
        outcome.result_url,
        files_json(outcome.files),
    )


def tick_values(job: Job) -> Row:
    """The values for `queries/tick.sql`, in its order."""
    return (job.id, job.attempt, job.version, to_ms(job.updated_at), *job.progress)


def progress_parameters(progress: Progress) -> Parameters:
    return progress._asdict()


def files_json(files: tuple[OutputFile, ...] | tuple[UploadedFile, ...]) -> str | None:
    return json.dumps([asdict(file) for file in files]) if files else None


def error_json(error: JobError) -> str:
    return json.dumps(asdict(error))


def webhook_json(webhook: Webhook) -> str:
    return json.dumps({"url": webhook.url, "events": sorted(webhook.events)})


def to_webhook(text: str) -> Webhook:
    fields = json.loads(text)
    return Webhook(fields["url"], frozenset(map(WebhookEvent, fields["events"])))
