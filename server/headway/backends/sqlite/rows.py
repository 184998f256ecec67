"""Rows to records and back. Only this module knows the order of the columns."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from itertools import chain
from typing import Any, NamedTuple, Self

from ...domain.attempts import AttemptOutcome, PastAttempt, Usage
from ...domain.deliveries import Webhook, WebhookEvent
from ...domain.instants import from_ms, to_ms
from ...domain.jobs import FILES_SHOWN, Job, JobError, LogLine, Metadata, NewJob, OutputFile, Status, UploadedFile
from ...domain.outcomes import Completed
from ...domain.progress import Progress
from ...quotas import utf8_bytes
from ..mending import Mending

Row = tuple[Any, ...]
Parameters = dict[str, Any]

COLUMNS = (
    "id, owner, type, label, status, priority, created_at, run_at, started_at, updated_at, completed_at, "
    "expires_at, attempt, max_attempts, failures, recoveries, interruptions, cancel_requested, "
    "purge_requested, percent, done, total, unit, message, step, rate_per_second, eta_s, error, files, "
    "result_bytes, retry_of, timeout_s, retain_s, uploads, last_seq, state_seq, version, result_url, "
    "webhook, files_total, CASE WHEN completed_at IS NULL THEN key_id END, metadata, edits"
)
"""The key stands behind the result, through which SQLite would have to read. Of an ended job nobody needs it here."""
IDENTITY = "id, owner, type"
"""What they begin with."""
COLUMN_COUNT = COLUMNS.count(",") + 1
KEPT_COLUMNS = "coalesce(key_id, ''), bytes, checkpoint_bytes"
DELIVERY_COLUMNS = (
    "id, job_id, owner, event, url, host, status, taken, due_at, attempts, tries, created_at, last_attempt_at, "
    "ended_at, last_status, last_error"
)
FILES_IN_A_ROW = 200
"""So that a page of files is in two or three rows."""
_STATUS = {status.value: status for status in Status}
ID, STATUS, ENDED_AT = 0, 4, 10
"""Positions in `COLUMNS`."""


def to_job(row: Row) -> Job:
    """The job in a row that begins with `COLUMNS`. Of a damaged row, what can be read."""
    try:
        return _mended_job(row) if bytes in map(type, row[:COLUMN_COUNT]) else _to_job(row)
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError):
        return _mended_job(row)


def _to_job(row: Row) -> Job:
    (
        id, owner, type, label, status, priority, created_ms, run_ms, started_ms, updated_ms, completed_ms, expires_ms,
        attempt, max_attempts, failures, recoveries, interruptions, cancel_requested, purge_requested, percent, done,
        total, unit, message, step, rate_per_second, eta_s, error, files, result_bytes, retry_of, timeout_s, retain_s,
        uploads, last_seq, state_seq, version, result_url, webhook, files_total, key_id, metadata,
        edits, *_,
    ) = row  # fmt: skip
    shown = tuple(_output(**file) for file in json.loads(files)) if files else ()
    # By position: names would take twice as long, and a row is read at every change of a job.
    return Job(
        from_ms(updated_ms),
        Progress(percent, _number(done), _number(total), unit, message, step, rate_per_second, eta_s),
        version,
        id,
        owner,
        type,
        from_ms(created_ms),
        from_ms(run_ms),
        retain_s,
        label,
        priority,
        max_attempts,
        timeout_s,
        tuple(_upload(**file) for file in json.loads(uploads)) if uploads else (),
        retry_of,
        None if webhook is None else to_webhook(webhook),
        key_id,
        () if metadata is None else _metadata(json.loads(metadata)),
        _STATUS[status],
        None if started_ms is None else from_ms(started_ms),
        None if completed_ms is None else from_ms(completed_ms),
        None if expires_ms is None else from_ms(expires_ms),
        attempt,
        failures,
        recoveries,
        interruptions,
        bool(cancel_requested),
        bool(purge_requested),
        None if error is None else JobError.stated(**json.loads(error)),
        shown,
        len(shown) if files_total is None else files_total,
        result_bytes,
        result_url,
        last_seq,
        state_seq,
        edits or 0,
    )


class Kept(NamedTuple):
    """What a row says beside its job, for the counts: `KEPT_COLUMNS`."""

    key_id: str
    bytes: int
    checkpoint_bytes: int

    @classmethod
    def of(cls, values: Sequence[Any]) -> Self:
        """Of a damaged row, what can be read."""
        key_id, size_bytes, checkpoint_bytes = values
        if type(key_id) is str and type(size_bytes) is type(checkpoint_bytes) is int:
            return cls(key_id, size_bytes, checkpoint_bytes)
        mend = Mending("jobs", "a job that is being changed")
        return cls(mend.text("key_id", key_id), mend.whole("bytes", size_bytes), mend.whole("bytes", checkpoint_bytes))


NO_FILES: tuple[OutputFile, ...] = ()
NO_METADATA: Metadata = ()
DAMAGED = JobError("damaged-record", "The record of this job is damaged", "The server's log says where.", 500)


def _mended_job(row: Row) -> Job:
    """What can be read of a damaged row. A job whose status cannot be read has failed: it can be deleted."""
    mend = Mending("jobs", row[ID])
    created_at = mend.instant("created_at", row[6])
    status = mend.member("status", row[4], Status, Status.FAILED)
    error = mend.from_json("error", row[27], _mended_error, DAMAGED)
    files = mend.from_json("files", row[28], _mended_files, NO_FILES)
    job = Job(
        id=mend.text("id", row[0]),
        owner=mend.text("owner", row[1]),
        type=mend.text("type", row[2]),
        label=mend.optional_text("label", row[3]),
        status=status,
        priority=mend.whole("priority", row[5]),
        created_at=created_at,
        run_at=mend.instant("run_at", row[7], created_at),
        started_at=mend.optional_instant("started_at", row[8]),
        updated_at=mend.instant("updated_at", row[9], created_at),
        completed_at=mend.optional_instant("completed_at", row[10]),
        expires_at=mend.optional_instant("expires_at", row[11]),
        attempt=mend.whole("attempt", row[12]),
        max_attempts=mend.whole("max_attempts", row[13], 1),
        failures=mend.whole("failures", row[14]),
        recoveries=mend.whole("recoveries", row[15]),
        interruptions=mend.whole("interruptions", row[16]),
        cancel_requested=bool(row[17]),
        purge_requested=bool(row[18]),
        progress=_mended_progress(row, mend),
        error=error if row[27] is not None else DAMAGED if "status" in mend.damaged else None,
        files=files[:FILES_SHOWN],
        files_total=max(mend.whole("files_total", row[39]), len(files)),
        result_bytes=mend.optional_whole("result_bytes", row[29]),
        retry_of=mend.optional_text("retry_of", row[30]),
        timeout_s=mend.number("timeout_s", row[31]),
        retain_s=mend.number("retain_s", row[32]) or 0.0,
        uploads=mend.from_json("uploads", row[33], _mended_uploads, ()),
        last_seq=mend.whole("last_seq", row[34], 1),
        state_seq=mend.whole("state_seq", row[35], 1),
        version=mend.whole("version", row[36], 1),
        result_url=mend.optional_text("result_url", row[37]),
        webhook=mend.from_json("webhook", row[38], lambda _, __: to_webhook(row[38]), None),
        key_id=mend.optional_text("key_id", row[40]),
        metadata=mend.from_json("metadata", row[41], _mended_metadata, NO_METADATA),
        edits=mend.optional_whole("edits", row[42]) or 0,
    )
    mend.report()
    return job


def _mended_metadata(pairs: Any, mend: Mending) -> Metadata:
    return tuple((mend.text("metadata", name), mend.text("metadata", value)) for name, value in pairs.items())


def _mended_progress(row: Row, mend: Mending) -> Progress:
    return Progress(
        percent=mend.number("percent", row[19]),
        done=mend.number("done", row[20]),
        total=mend.number("total", row[21]),
        unit=mend.optional_text("unit", row[22]),
        message=mend.optional_text("message", row[23]),
        step=mend.optional_text("step", row[24]),
        rate_per_second=mend.number("rate_per_second", row[25]),
        eta_s=mend.optional_whole("eta_s", row[26]),
    )


def _mended_error(fields: Any, mend: Mending) -> JobError:
    names = ("type", "title", "detail", "status")
    if fields.keys() != set(names):
        mend.damaged.append("error")
    return JobError.stated(*(fields.get(name) for name in names))


def _mended_files(files: Any, mend: Mending) -> tuple[OutputFile, ...]:
    return tuple(
        OutputFile(
            mend.text("files", file["name"]),
            mend.whole("files", file.get("size_bytes")),
            mend.text("files", file.get("content_type"), "application/octet-stream"),
        )
        for file in files
    )


def _mended_uploads(files: Any, mend: Mending) -> tuple[UploadedFile, ...]:
    return tuple(
        UploadedFile(
            mend.text("uploads", file["field"]),
            mend.text("uploads", file.get("filename")),
            mend.text("uploads", file.get("content_type"), "application/octet-stream"),
            mend.whole("uploads", file.get("size_bytes")),
        )
        for file in files
    )


def _output(name: str, size_bytes: int, content_type: str) -> OutputFile:
    name.encode(), content_type.encode()  # raises for a lone surrogate
    return OutputFile(name, int(size_bytes), content_type)


def _upload(field: str, filename: str, content_type: str, size_bytes: int) -> UploadedFile:
    field.encode(), filename.encode(), content_type.encode()
    return UploadedFile(field, filename, content_type, int(size_bytes))


def _metadata(pairs: Any) -> Metadata:
    for text in chain.from_iterable(pairs.items()):
        text.encode()
    return tuple(pairs.items())


def _number(value: Any) -> int | float | None:
    """A value of a column that takes any type."""
    if value is not None and not isinstance(value, int | float):
        raise TypeError(type(value))
    return value


def to_log_line(row: Row) -> LogLine:
    seq, at, level, message = row
    try:
        if type(level) is type(message) is str:
            return LogLine(seq=seq, at=from_ms(at), level=level, message=message)
    except (TypeError, OverflowError):
        pass
    mend = Mending("history", f"line {seq}, {message!r:.80}")
    line = LogLine(seq, mend.instant("at", at), mend.text("level", level, "info"), mend.text("message", message))
    mend.report()
    return line


def to_attempt(job_id: str, row: Row) -> PastAttempt:
    """The attempt in a row of `queries/attempts.sql`. Of a damaged row, what can be read."""
    number, started_at, ended_at, outcome, error, peak_memory_bytes, cpu_s = row
    mend = Mending("attempts", f"{job_id} {number}")
    used_s = mend.number("cpu_s", cpu_s)
    attempt = PastAttempt(
        number=number,
        started_at=mend.instant("started_at", started_at),
        ended_at=mend.optional_instant("ended_at", ended_at),
        outcome=mend.member("outcome", outcome, AttemptOutcome, AttemptOutcome.FAILED),
        error=mend.from_json("error", error, _mended_error, DAMAGED) if error is not None else None,
        usage=None if used_s is None else Usage(mend.whole("peak_memory_bytes", peak_memory_bytes), used_s),
    )
    mend.report()
    return attempt


def attempt_values(job: Job, attempt: PastAttempt) -> Row:
    """The values for `queries/insert_attempt.sql`, in its order. The attempt has ended."""
    return (
        job.id,
        attempt.number,
        to_ms(attempt.started_at),
        None if attempt.ended_at is None else to_ms(attempt.ended_at),
        attempt.outcome,
        None if attempt.error is None else error_json(attempt.error),
        *(attempt.usage or (None, None)),
    )


def new_job_values(new: NewJob, turn: int | None) -> Row:
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
        metadata_json(new.metadata),
        turn,
        new.key_id,
        new.kept_bytes,
    )


def completed_values(
    job: Job, version: int, outcome: Completed, progress: Progress, now: datetime, in_parts_bytes: int | None = None
) -> Row:
    """The values for `queries/complete.sql`, in its order. `in_parts_bytes`: the size of a result that is in parts."""
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
        outcome.result_json if in_parts_bytes is None else None,
        utf8_bytes(outcome.result_json) if in_parts_bytes is None else in_parts_bytes,
        outcome.result_url,
        files_json(outcome.files[:FILES_SHOWN]),
        len(outcome.files) if len(outcome.files) > FILES_SHOWN else None,
        outcome.kept_bytes,
    )


def tick_values(job: Job) -> Row:
    """The values for `queries/tick.sql`, in its order."""
    return (job.id, job.attempt, job.version, to_ms(job.updated_at), *job.progress)


def output_files_parameters(job_id: str, files: Sequence[OutputFile]) -> list[Parameters]:
    """The parameters for `queries/insert_output_files.sql`, row by row. `files` are sorted by name."""
    rows: list[Parameters] = []
    for first in range(0, len(files), FILES_IN_A_ROW):
        part = files[first : first + FILES_IN_A_ROW]
        listed = [(file.name, file.size_bytes, file.content_type) for file in part]
        rows.append({"job_id": job_id, "first": part[0].name, "files": json.dumps(listed, separators=(",", ":"))})
    return rows


def to_output_files(row: Row) -> Sequence[OutputFile]:
    """The files in a row of `queries/output_files.sql`. Of a damaged one, what can be read."""
    job_id, first, files = row
    try:
        return [_output(*file) for file in json.loads(files)]
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError):
        mend = Mending("output_files", f"{job_id}, from {first!r:.80}")
        found = mend.from_json("files", files, _mended_listed, NO_FILES)
        mend.report()
        return found


def _mended_listed(files: Any, mend: Mending) -> tuple[OutputFile, ...]:
    names = ("name", "size_bytes", "content_type")
    return _mended_files([dict(zip(names, file, strict=False)) for file in files], mend)


def progress_parameters(progress: Progress) -> Parameters:
    return progress._asdict()


def files_json(files: tuple[OutputFile, ...] | tuple[UploadedFile, ...]) -> str | None:
    return json.dumps([asdict(file) for file in files]) if files else None


def metadata_json(metadata: Metadata) -> str | None:
    return json.dumps(dict(metadata), ensure_ascii=False) if metadata else None


def error_json(error: JobError) -> str:
    return json.dumps(asdict(error))


def webhook_json(webhook: Webhook) -> str:
    return json.dumps({"url": webhook.url, "events": sorted(webhook.events)})


def to_webhook(text: str) -> Webhook:
    fields = json.loads(text)
    return Webhook(fields["url"], frozenset(map(WebhookEvent, fields["events"])))
