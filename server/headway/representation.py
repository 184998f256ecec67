"""The representation of a job, the same in answers, streams and webhooks; encoded once per version."""

from collections import OrderedDict
from datetime import datetime
from functools import lru_cache
from math import ceil
from typing import Any, Literal
from urllib.parse import quote

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic_core import to_json

from .domain.attempts import PastAttempt
from .domain.deliveries import WebhookEvent
from .domain.jobs import Documents, Job, JobError, LiveJob, LogLine, OutputFile
from .domain.progress import Progress
from .links import Links

INLINE_RESULT_BYTES = 64 * 1024
ENCODINGS_KEPT = 4_096
TAILS_KEPT = 2_048
TAIL_KEPT_BYTES = 16 * 1024
MAX_POLL_AFTER_S = 10


class _Wire(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")


class FileView(_Wire):
    """An output file."""

    name: str
    size_bytes: int
    content_type: str
    url: str


class ErrorView(_Wire):
    """Why the job failed, in RFC 9457's names."""

    type: str
    title: str
    detail: str | None
    status: int


class JobView(_Wire):
    """A job as lists, streams and submissions show it. `job_fields` returns exactly these fields."""

    job_id: str
    type: str
    label: str | None
    status: Literal["queued", "running", "completed", "failed", "cancelled"]
    progress: float | None = Field(ge=0, le=100, description="percent, one decimal, rounded down")
    done: int | float | None
    total: int | float | None
    unit: str | None
    message: str | None
    step: str | None
    rate_per_second: float | None
    eta_seconds: int | None
    queue_position: int | None
    attempt: int
    max_attempts: int
    cancel_requested: bool
    created_at: AwareDatetime
    run_at: AwareDatetime
    started_at: AwareDatetime | None
    updated_at: AwareDatetime
    completed_at: AwareDatetime | None
    expires_at: AwareDatetime | None
    status_url: str
    progress_url: str
    result_url: str | None
    files: list[FileView] = Field(description="the first 100 by name; all of them at `/jobs/{id}/files`")
    files_total: int
    metadata: dict[str, str]
    error: ErrorView | None
    retry_of: str | None
    edit_tag: str = Field(description='changed by edits only: `If-Match: "e0"` makes a change of this state alone')
    version: int


class JobDetail(JobView):
    """A job as `GET /jobs/{id}` shows it: with its input and, when small enough, its result."""

    input: Any
    result: Any


class LogLineView(_Wire):
    """A line of a job's log."""

    seq: int
    at: AwareDatetime
    level: Literal["debug", "info", "warning", "error"]
    message: str


class AttemptView(_Wire):
    """One time that the job was started. `attempt_fields` returns exactly these fields."""

    attempt: int
    started_at: AwareDatetime
    ended_at: AwareDatetime | None = Field(description="null while it runs; after a crash, when the server was back")
    outcome: Literal["completed", "failed", "cancelled", "retry", "interrupted"] | None = Field(
        description="`retry`: it failed, and another one follows; `interrupted`: its server stopped; null while it runs"
    )
    error: ErrorView | None
    peak_memory_bytes: int | None = Field(
        description="resident memory of its largest process at most; null for `async def` handlers, and if unknown"
    )
    cpu_seconds: float | None = Field(description="of its processes; null for `async def` handlers, and if unknown")


def job_fields(job: Job, queue_position: int | None, links: Links) -> dict[str, Any]:
    """The representation, in the contract's order."""
    status_url = links.job(job)
    return {
        "jobId": job.id,
        "type": job.type,
        "label": job.label,
        "status": job.status.value,
        **progress_fields(job.progress),
        "queuePosition": queue_position,
        "attempt": job.attempt,
        "maxAttempts": job.max_attempts + job.interruptions,
        "cancelRequested": job.cancel_requested,
        "createdAt": instant(job.created_at),
        "runAt": instant(job.run_at),
        "startedAt": instant(job.started_at),
        "updatedAt": instant(job.updated_at),
        "completedAt": instant(job.completed_at),
        "expiresAt": instant(job.expires_at),
        "statusUrl": status_url,
        "progressUrl": f"{status_url}/progress",
        "resultUrl": None if job.result_bytes is None and job.result_url is None else links.result(job),
        "files": [file_fields(file, status_url) for file in job.files],
        "filesTotal": job.files_total,
        "metadata": dict(job.metadata),
        "error": None if job.error is None else error_fields(job.error),
        "retryOf": job.retry_of,
        "editTag": job.edit_tag,
        "version": job.version,
    }


def progress_fields(progress: Progress) -> dict[str, Any]:
    percent, done, total, unit, message, step, rate_per_second, eta_s = progress
    return {
        "progress": percent,
        "done": done,
        "total": total,
        "unit": unit,
        "message": message,
        "step": step,
        "ratePerSecond": rate_per_second,
        "etaSeconds": eta_s,
    }


def file_fields(file: OutputFile, status_url: str) -> dict[str, Any]:
    """An output file of the job at `status_url`."""
    return {
        "name": file.name,
        "sizeBytes": file.size_bytes,
        "contentType": file.content_type,
        "url": f"{status_url}/files/{path_segment(file.name)}",
    }


def event_body(event: WebhookEvent, job: Job, links: Links) -> str:
    """The body of a webhook: the event, when it happened, and the job as it was then."""
    fields = {"type": event.value, "timestamp": instant(job.updated_at), "data": job_fields(job, None, links)}
    return to_json(fields).decode()


def error_fields(error: JobError) -> dict[str, Any]:
    return {"type": error.type, "title": error.title, "detail": error.detail, "status": error.status}


class _Encoded:
    """A version of a job's representation. The next tick changes three parts of it: the others need not be encoded."""

    __slots__ = ("_others", "encoded", "queue_position", "recorded", "unticked", "version")

    def __init__(self, job: Job, queue_position: int | None, encoded: bytes) -> None:
        self.version = job.version
        self.unticked = job.apart_from_ticks()
        self.queue_position = queue_position
        self.encoded = encoded
        self.recorded: Job | None = None
        """The job to which the ticks were added, if that is known."""
        self._others: tuple[bytes, bytes, bytes] | None = None
        """Before the progress, between it and `updatedAt`, and between that and `version`. Known after a tick."""

    def tick(self, job: Job | LiveJob) -> None:
        """Encode the same job, some ticks later: it takes a third of the time."""
        start, middle, end = self._others or self._find_others()
        self.version = job.version
        progress = to_json(progress_fields(job.progress))[1:-1]
        version = b"%d}" % job.version
        self.encoded = b"".join((start, progress, middle, _encoded_instant(job.updated_at), end, version))

    def _find_others(self) -> tuple[bytes, bytes, bytes]:
        """These names are found nowhere else, since JSON escapes the quotation marks in texts; apart from the metadata,
        which stands behind all of them but the last.
        """
        find = self.encoded.index
        self._others = (
            self.encoded[: find(b'"progress":')],
            self.encoded[find(b',"queuePosition":') : find(b'"updatedAt":')] + b'"updatedAt":"',
            self.encoded[find(b'","completedAt":') : self.encoded.rindex(b'"version":')] + b'"version":',
        )
        return self._others


class Encoder:
    """Encodes each version of a job once, however many poll it or watch it."""

    def __init__(self, links: Links) -> None:
        self.links = links
        self._kept: OrderedDict[str, _Encoded] = OrderedDict()
        self._tails: OrderedDict[tuple[str, int | None], bytes] = OrderedDict()

    def job(self, job: Job, queue_position: int | None) -> bytes:
        """The representation as JSON text, without line breaks."""
        return self._encode(job, queue_position).encoded

    def live(self, live: LiveJob) -> bytes:
        """That of a running job. As long as nothing else is recorded of it, only its ticks are encoded."""
        kept = self._kept.get(live.recorded.id)
        if kept is None or kept.recorded is not live.recorded:
            kept = self._encode(live.job, None)
            kept.recorded = live.recorded
        elif kept.version != live.version:
            kept.tick(live)
        return kept.encoded

    def _encode(self, job: Job, queue_position: int | None) -> _Encoded:
        kept = self._kept.get(job.id)
        if kept is not None and kept.queue_position == queue_position:
            if kept.version == job.version:
                return kept
            if kept.unticked == job.apart_from_ticks():
                kept.tick(job)
                return kept
        kept = _Encoded(job, queue_position, to_json(job_fields(job, queue_position, self.links)))
        self._kept[job.id] = kept  # replaces an older version
        if len(self._kept) > ENCODINGS_KEPT:
            self._kept.popitem(last=False)
        return kept

    def tail(self, job: Job) -> bytes | None:
        """The end of `detail` if it is cached: input and result stay the same over many versions."""
        return self._tails.get((job.id, job.result_bytes))

    def make_tail(self, job: Job, documents: Documents) -> bytes:
        """`input` and, up to 64 KiB, `result`; the stored JSON is inserted unchanged."""
        result = documents.result_json
        # Decided by the job, not by the documents: they were read later, and the job may have ended in between.
        if result is None or not shows_result(job):
            result = "null"
        tail = b',"input":%s,"result":%s}' % (_input(job, documents), result.encode())
        if len(tail) <= TAIL_KEPT_BYTES:
            self._tails[job.id, job.result_bytes] = tail
            if len(self._tails) > TAILS_KEPT:
                self._tails.popitem(last=False)
        return tail

    def detail(self, job: Job, queue_position: int | None, tail: bytes) -> bytes:
        """The representation with `input` and `result`."""
        return self.job(job, queue_position)[:-1] + tail


def shows_result(job: Job) -> bool:
    """Whether the representation contains the job's result."""
    return job.result_bytes is not None and job.result_bytes <= INLINE_RESULT_BYTES


def _input(job: Job, documents: Documents) -> bytes:
    """The submitted fields, with a description of each upload instead of its bytes."""
    if not job.uploads:
        return documents.input_json.encode()
    uploads = {
        file.field: {"name": file.filename, "sizeBytes": file.size_bytes, "contentType": file.content_type}
        for file in job.uploads
    }
    joined = to_json(uploads)
    fields = documents.input_json.encode()
    return joined if fields in (b"{}", b"null") else b"%s,%s" % (fields[:-1], joined[1:])


def log_line_fields(line: LogLine) -> dict[str, Any]:
    return {"seq": line.seq, "at": instant(line.at), "level": line.level, "message": line.message}


def attempt_fields(attempt: PastAttempt) -> dict[str, Any]:
    return {
        "attempt": attempt.number,
        "startedAt": instant(attempt.started_at),
        "endedAt": instant(attempt.ended_at),
        "outcome": None if attempt.outcome is None else attempt.outcome.value,
        "error": None if attempt.error is None else error_fields(attempt.error),
        "peakMemoryBytes": None if attempt.usage is None else attempt.usage.peak_memory_bytes,
        "cpuSeconds": None if attempt.usage is None else round(attempt.usage.cpu_s, 3),
    }


def instant(at: datetime | None) -> str | None:
    """RFC 3339 in UTC with milliseconds."""
    return None if at is None else _instant(at)


@lru_cache(maxsize=256)
def _encoded_instant(at: datetime) -> bytes:
    """That of a tick, which many jobs share."""
    return _instant(at).encode()


@lru_cache(maxsize=8_192)
def _instant(at: datetime) -> str:
    # Not strftime: its %Y has no leading zeros on Linux.
    return at.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def path_segment(name: str) -> str:
    """A file's name as one segment of a URL (RFC 3986)."""
    return quote(name, safe="")


def poll_after_s(job: Job) -> int:
    """Whole seconds after which another poll is worthwhile: a quarter of the time left, 1 to 10."""
    eta_s = job.progress.eta_s
    return 1 if eta_s is None else min(max(1, ceil(eta_s / 4)), MAX_POLL_AFTER_S)
