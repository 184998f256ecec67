"""What a job is: its states, the transitions between them, and the records of a job."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple, Self

from ..errors import is_error_status
from ..limits import ERROR_DETAIL_CHARS, ERROR_TITLE_CHARS, ERROR_TYPE_CHARS
from ..quotas import utf8_bytes
from ..text import clean_text, spoken
from .audit import Actor
from .deliveries import Webhook, WebhookEvent
from .progress import NO_PROGRESS, Progress

RECOVERY_VERSION_STEP = 1_000
"""What a recovery adds to `version`, so that clients never see it run backwards: ticks reach watchers ten times
a second and the disk twice, or every ten seconds if there are very many jobs, so after a crash the recorded version is
up to a hundred behind the published one."""

MAX_FILENAME_CHARS = 255
"""Of an upload's name, of which the end is kept."""


class Status(StrEnum):
    """A job's state. Each says what it means and which module moves a job out of it."""

    QUEUED = "queued"
    """Accepted, and waiting for `run_at` and a free slot: new, or between two attempts. `running.engine` claims it
    (CLAIM). A client's cancel ends it at once (CANCEL_QUEUED).
    """
    RUNNING = "running"
    """Claimed: attempt number `attempt` is its only writer. `running.executor` records the attempt's outcome (COMPLETE,
    FAIL, CANCEL or REQUEUE). After a crash, `running.engine` has the store recover it at the next start. A client's
    cancel does not change the state: it is recorded, and the engine asks the attempt to stop.
    """
    COMPLETED = "completed"
    """The handler returned; result and output files are there. Final: `operating.retention` deletes the job when
    `expires_at` has passed.
    """
    FAILED = "failed"
    """No attempt is left, or the handler said that a retry would not help; `error` says why. Final: a client's retry
    is a new job, whose `retry_of` names this one. The other outcomes can be repeated like that too.
    """
    CANCELLED = "cancelled"
    """Ended by a client's request, before or during an attempt. Final, as for FAILED."""


FILES_SHOWN = 100
"""How many of its output files a job's representation has. A job can have fifty thousand."""

STATUSES = frozenset(Status)
TERMINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})
ACTIVE = frozenset({Status.QUEUED, Status.RUNNING})


Metadata = tuple[tuple[str, str], ...]
"""Names and values that a client gave a job: a tuple, because jobs are compared and never change."""


class Transition(StrEnum):
    """A change of state. A backend has one statement for each, of the same name."""

    CLAIM = "claim"
    REQUEUE = "requeue"
    COMPLETE = "complete"
    FAIL = "fail"
    CANCEL = "cancel"
    CANCEL_QUEUED = "cancel_queued"


TRANSITIONS: Mapping[Transition, tuple[Status, Status]] = MappingProxyType(
    {
        Transition.CLAIM: (Status.QUEUED, Status.RUNNING),
        Transition.REQUEUE: (Status.RUNNING, Status.QUEUED),
        Transition.COMPLETE: (Status.RUNNING, Status.COMPLETED),
        Transition.FAIL: (Status.RUNNING, Status.FAILED),
        Transition.CANCEL: (Status.RUNNING, Status.CANCELLED),
        Transition.CANCEL_QUEUED: (Status.QUEUED, Status.CANCELLED),
    }
)
"""Every legal change of state: from, to."""

EVENT_OF: Mapping[Status, WebhookEvent] = MappingProxyType(
    {
        Status.RUNNING: WebhookEvent.STARTED,
        Status.COMPLETED: WebhookEvent.COMPLETED,
        Status.FAILED: WebhookEvent.FAILED,
        Status.CANCELLED: WebhookEvent.CANCELLED,
    }
)
"""The event of entering a state. Returning to the queue has none."""


@dataclass(frozen=True, slots=True)
class JobError:
    """Why a job failed, in the terms of RFC 9457. It is shown to clients, so it never holds a traceback."""

    type: str
    title: str
    detail: str | None
    status: int

    @classmethod
    def stated(cls, type: object, title: object, detail: object, status: object) -> Self:
        """The error in a handler's words, whatever they are: as text that can be stored and shown, within limits."""
        detail = None if detail is None else clean_text(spoken(detail), ERROR_DETAIL_CHARS, lines=True)
        return cls(
            type=clean_text(spoken(type), ERROR_TYPE_CHARS) or "job-failed",
            title=clean_text(spoken(title), ERROR_TITLE_CHARS) or "The job failed",
            detail=detail,
            status=int(status) if is_error_status(status) else 500,
        )

    @property
    def text(self) -> str:
        """Title and detail as one line."""
        return f"{self.title}: {self.detail}" if self.detail else self.title


@dataclass(frozen=True, slots=True)
class OutputFile:
    """A downloadable file of a completed job. `name` is flat: no directory."""

    name: str
    size_bytes: int
    content_type: str


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """A file that was uploaded with a submission. Its bytes are in the job's `inputs` directory, named `field`."""

    field: str
    filename: str
    content_type: str
    size_bytes: int


class Job(NamedTuple):
    """One job as the store knows it: everything but its input and its result, which can be large.

    `failures` counts attempts that failed, `recoveries` crashes of the server, `interruptions` both crashes and orderly
    stops. `last_seq` is the newest sequence number of the job's history and `state_seq` that of its newest state
    change. `version` grows with every published change. A job is a tuple, not a frozen dataclass, because one is made
    at every change, in a third of the time. What a tick changes comes first, then what a submission decides, in the
    order of `NewJob`, so that a job is made of a few slices.
    """

    updated_at: datetime
    progress: Progress
    version: int
    id: str
    owner: str
    type: str
    created_at: datetime
    run_at: datetime
    retain_s: float
    label: str | None = None
    priority: int = 0
    max_attempts: int = 1
    timeout_s: float | None = None
    uploads: tuple[UploadedFile, ...] = ()
    retry_of: str | None = None
    webhook: Webhook | None = None
    key_id: str | None = None
    """The API key that it was submitted with, for as long as it is active. The record keeps it until the job's end."""
    metadata: Metadata = ()
    status: Status = Status.QUEUED
    started_at: datetime | None = None
    completed_at: datetime | None = None
    expires_at: datetime | None = None
    attempt: int = 0
    failures: int = 0
    recoveries: int = 0
    interruptions: int = 0
    cancel_requested: bool = False
    purge_requested: bool = False
    error: JobError | None = None
    files: tuple[OutputFile, ...] = ()
    """The first of its output files, by name: `FILES_SHOWN` at most. The store has the others."""
    files_total: int = 0
    result_bytes: int | None = None
    result_url: str | None = None
    """Set by the handler; `None`: the result is where a job's result always is."""
    last_seq: int = 1
    state_seq: int = 1
    edits: int = 0
    """How often a client has changed it."""

    @classmethod
    def queued(cls, new: "NewJob") -> Self:
        """The job that a submission creates. In a quarter of the time that naming each field takes."""
        return tuple.__new__(cls, (new.created_at, NO_PROGRESS, 1, *new[:3], *new[4:-1], *_NEVER_CLAIMED))

    @property
    def edit_tag(self) -> str:
        """What identifies the job as it was last edited: ticks and changes of state leave it as it is."""
        return f"e{self.edits}"

    @property
    def editable(self) -> "Edit":
        """What of it can be edited."""
        return Edit(self.label, self.priority, self.run_at, self.retain_s, self.metadata)

    @property
    def terminal(self) -> bool:
        """Whether it has ended."""
        return self.status in TERMINAL

    def announces(self, event: WebhookEvent | None) -> bool:
        """Whether the job has a webhook that asks for this event."""
        return self.webhook is not None and event in self.webhook.events

    def ticked(self, progress: Progress, at: datetime, ticks: int = 1) -> Self:
        """The same job with newer progress, as the next version. In a tenth of the time that `_replace` takes."""
        return tuple.__new__(type(self), (at, progress, self.version + ticks, *self[3:]))

    def apart_from_ticks(self) -> tuple[object, ...]:
        """What no tick changes. If it is equal in two versions of a job, there are only ticks between them."""
        return self[3:]


_DECIDED_BY_SUBMISSION = Job._fields.index("status")
_NEVER_CLAIMED = tuple(Job._field_defaults[name] for name in Job._fields[_DECIDED_BY_SUBMISSION:])
"""What a queued job has where attempts will leave something."""


class Edit(NamedTuple):
    """What clients may change about a job that was accepted: how it is shown, queued and kept."""

    label: str | None
    priority: int
    run_at: datetime
    retain_s: float
    metadata: Metadata


class LiveJob:
    """A running job in memory: as it was recorded last, and what ticks have changed since.

    Most ticks only reach the job's watchers, who need no more than this. The whole job is made when it is asked for.
    """

    __slots__ = ("_job", "progress", "recorded", "updated_at", "version")

    def __init__(self, job: Job) -> None:
        self.recorded = job
        self.updated_at, self.progress, self.version = job[:3]
        self._job: Job | None = job

    @property
    def job(self) -> Job:
        """The job as it is now published."""
        if self._job is None:
            self._job = self.recorded.ticked(self.progress, self.updated_at, self.version - self.recorded.version)
        return self._job

    def tick(self, progress: Progress, at: datetime) -> None:
        """Publish newer progress, as the next version."""
        self.progress, self.updated_at = progress, at
        self.version += 1
        self._job = None


class NewJob(NamedTuple):
    """A job to be recorded. `input_json` is canonical JSON text, without the uploads.

    All fields but this and the last are the job's, which has them in the same order.
    """

    id: str
    owner: str
    type: str
    input_json: str
    created_at: datetime
    run_at: datetime
    retain_s: float
    label: str | None = None
    priority: int = 0
    max_attempts: int = 1
    timeout_s: float | None = None
    uploads: tuple[UploadedFile, ...] = ()
    retry_of: str | None = None
    webhook: Webhook | None = None
    key_id: str | None = None
    metadata: Metadata = ()
    by: Actor | None = None
    """Who submitted it, for the audit trail; `None` leaves no entry."""

    @property
    def kept_bytes(self) -> int:
        """What it adds to the bytes that its owner keeps. A retry shares its uploads with another job; both count."""
        size = utf8_bytes(self.input_json)
        return size + sum(upload.size_bytes for upload in self.uploads) if self.uploads else size

    @classmethod
    def repeating(
        cls,
        job: Job,
        id: str,
        created_at: datetime,
        input_json: str,
        key_id: str | None = None,
        by: Actor | None = None,
    ) -> Self:
        """A retry of `job`, asked for with the key `key_id`: a new job with the same owner, input and options."""
        return cls(
            id=id,
            owner=job.owner,
            type=job.type,
            input_json=input_json,
            created_at=created_at,
            run_at=created_at,
            retain_s=job.retain_s,
            label=job.label,
            priority=job.priority,
            max_attempts=job.max_attempts,
            timeout_s=job.timeout_s,
            uploads=job.uploads,
            retry_of=job.id,
            webhook=job.webhook,
            key_id=key_id,
            by=by,
            metadata=job.metadata,
        )


@dataclass(frozen=True, slots=True)
class Documents:
    """The large parts of a job, as JSON text."""

    input_json: str
    result_json: str | None


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line of a job's log. `level` is `debug`, `info`, `warning` or `error`."""

    seq: int
    at: datetime
    level: str
    message: str


@dataclass(frozen=True, slots=True)
class NewLogLine:
    """A log line that the store has not numbered yet."""

    at: datetime
    level: str
    message: str


class Claim(NamedTuple):
    """A job that this server may now run, with what its handler needs from the record."""

    job: Job
    input_json: str
    checkpoint_json: str | None


@dataclass(frozen=True, slots=True)
class Counts:
    """How many jobs there are: by type, then by status."""

    by_type: Mapping[str, Mapping[Status, int]] = field(default_factory=dict)
