"""The life of a job as plain data: states, the transition table, records, outcomes. Pure: no I/O, no clock.

Instants are aware UTC datetimes with millisecond precision; durations are seconds; sizes are bytes.
"""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple, Self
from urllib.parse import urlsplit

from .progress import Progress

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
LOCAL_OWNER = "local"
"""Whose jobs these are where no API key is needed: the one user of this machine."""

EVERY_OWNER = "*"
"""As a caller: one who sees and changes the jobs of all owners. No owner has this name."""

RECOVERY_VERSION_STEP = 1_000
"""What a recovery adds to `version`. Ticks reach disk twice a second and watchers ten times, so after a crash
the recorded version lags by a few; a step this size never lets a client see it run backwards."""


class Status(StrEnum):
    """A job's state. The one line says who moves it out of there."""

    QUEUED = "queued"  # the engine, by a claim once `run_at` has come; a client, by a cancel
    RUNNING = "running"  # the attempt that holds the claim; recovery, after a crash
    COMPLETED = "completed"  # nobody
    FAILED = "failed"  # nobody: a retry by a client makes a new job
    CANCELLED = "cancelled"  # nobody


TERMINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})
ACTIVE = frozenset({Status.QUEUED, Status.RUNNING})


class Transition(StrEnum):
    """A change of state, named like the statement in `sqlite/queries` that performs it."""

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
"""Every legal change of state: from, to. What is not here does not happen."""


class WebhookEvent(StrEnum):
    """What the receiver of a webhook can be told of a job."""

    STARTED = "job.started"  # at the start of each attempt
    PROGRESS = "job.progress"  # only to who asks for it
    COMPLETED = "job.completed"
    FAILED = "job.failed"
    CANCELLED = "job.cancelled"


DEFAULT_EVENTS = frozenset(WebhookEvent) - {WebhookEvent.PROGRESS}

EVENT_OF: Mapping[Status, WebhookEvent] = MappingProxyType(
    {
        Status.RUNNING: WebhookEvent.STARTED,
        Status.COMPLETED: WebhookEvent.COMPLETED,
        Status.FAILED: WebhookEvent.FAILED,
        Status.CANCELLED: WebhookEvent.CANCELLED,
    }
)
"""The event of entering a state; of going back into the queue nobody is told."""


class Webhook(NamedTuple):
    """Who is told of a job, and of what."""

    url: str
    events: frozenset[WebhookEvent] = DEFAULT_EVENTS

    @property
    def host(self) -> str:
        """The part of the URL that may stand in a log: name and port, no path and no password."""
        return urlsplit(self.url).netloc.rpartition("@")[2]


@dataclass(frozen=True, slots=True)
class JobError:
    """Why a job failed, in RFC 9457's names. Shown to clients, so never a traceback."""

    type: str
    title: str
    detail: str | None
    status: int

    @property
    def text(self) -> str:
        """Both in one, for those who have one field for it."""
        return self.title if self.detail is None else f"{self.title}: {self.detail}"


INTERRUPTED = JobError(
    type="interrupted",
    title="The server stopped while the job ran",
    detail="It was started as often as its type allows.",
    status=500,
)


@dataclass(frozen=True, slots=True)
class OutputFile:
    """A downloadable file of a completed job. `name` is flat: no directory."""

    name: str
    size_bytes: int
    content_type: str


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """A file that came with a submission; its bytes stand in the job's `inputs` directory as `field`."""

    field: str
    filename: str
    content_type: str
    size_bytes: int


class Job(NamedTuple):
    """One job as the store knows it: everything but its input and its result, which can be big.

    `failures` counts attempts that failed, `recoveries` crashes of the server, `interruptions` both crashes
    and orderly stops. `last_seq` is the newest sequence number of the job's history and `state_seq` that of
    its newest state change. `version` grows with every published change. A tuple, not a frozen dataclass: one
    is made at every change, in a third of the time.
    """

    id: str
    owner: str
    type: str
    label: str | None
    status: Status
    priority: int
    created_at: datetime
    run_at: datetime
    started_at: datetime | None
    updated_at: datetime
    completed_at: datetime | None
    expires_at: datetime | None
    attempt: int
    max_attempts: int
    failures: int
    recoveries: int
    interruptions: int
    cancel_requested: bool
    purge_requested: bool
    progress: Progress
    error: JobError | None
    files: tuple[OutputFile, ...]
    result_bytes: int | None
    result_url: str | None
    """Where the handler says that the result is; `None`: where a job's result always is."""
    retry_of: str | None
    timeout_s: float | None
    retain_s: float
    uploads: tuple[UploadedFile, ...]
    last_seq: int
    state_seq: int
    version: int
    webhook: Webhook | None

    @property
    def terminal(self) -> bool:
        return self.status in TERMINAL

    def announces(self, event: WebhookEvent | None) -> bool:
        """Whether somebody wants to be told of this event."""
        return self.webhook is not None and event in self.webhook.events

    def ticked(self, progress: Progress, at: datetime) -> Self:
        """The same job with newer progress, one version on."""
        return self._replace(progress=progress, updated_at=at, version=self.version + 1)


class NewJob(NamedTuple):
    """What a submission asks for. `input_json` is canonical JSON text, without the uploads."""

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


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """What makes a repeated submission the first one's. `fingerprint` stands for the whole request.

    A key is `owner`'s who asked with it, which need not be the job's: an admin can repeat the job of another.
    """

    owner: str
    key: str
    fingerprint: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class FirstSubmission:
    """What an idempotency key stands for: the job that was accepted with it, which may be gone, and its request."""

    job_id: str
    fingerprint: str


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
    """A job that this engine may now run, with what the handler needs from disk."""

    job: Job
    input_json: str
    checkpoint_json: str | None


@dataclass(frozen=True, slots=True)
class Completed:
    """The handler returned. `result_json` is its return value as JSON text, `result_url` what it set for clients."""

    result_json: str
    files: tuple[OutputFile, ...] = ()
    result_url: str | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The attempt failed. `retryable` is false where another attempt could not end otherwise."""

    error: JobError
    retryable: bool = True


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The attempt stopped because a cancel was recorded."""


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The attempt stopped because the server stops; `crashed` if it did not stop in good order."""

    crashed: bool = False


@dataclass(frozen=True, slots=True)
class Retry:
    """The attempt failed, and the job goes back into the queue until `run_at`."""

    error: JobError
    run_at: datetime


Outcome = Completed | Failed | Cancelled | Interrupted | Retry


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """Which jobs a list or a stream is about. Empty means: no restriction. Pure, so streams use it too."""

    statuses: frozenset[Status] = frozenset()
    types: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()
    label: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None

    def matches(self, job: Job) -> bool:
        return (
            (not self.statuses or job.status in self.statuses)
            and (not self.types or job.type in self.types)
            and (not self.ids or job.id in self.ids)
            and (self.label is None or job.label == self.label)
            and (self.created_after is None or job.created_at > self.created_after)
            and (self.created_before is None or job.created_at < self.created_before)
        )


@dataclass(frozen=True, slots=True)
class Counts:
    """How many jobs there are: by type, then by status."""

    by_type: Mapping[str, Mapping[Status, int]] = field(default_factory=dict)


def to_ms(at: datetime) -> int:
    """Milliseconds since 1970, rounded down."""
    return (at - EPOCH) // MILLISECOND


def from_ms(ms: int) -> datetime:
    """The instant that `to_ms` was given, to the millisecond."""
    return EPOCH + timedelta(milliseconds=ms)


def may_see(caller: str, owner: str) -> bool:
    """Whether the jobs of `owner` are there for `caller`."""
    return caller in (owner, EVERY_OWNER)


JOB_ID = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
_ID = re.compile(JOB_ID)


def is_job_id(text: str) -> bool:
    """Whether `text` is a UUIDv7 in canonical form; anything else names no job."""
    return _ID.fullmatch(text) is not None


class JobIds:
    """Makes UUIDv7 ids (RFC 9562, 5.7) that grow strictly, also within one millisecond and over clock steps.

    The 12 bits of `rand_a` count within a millisecond (RFC 9562, 6.2, method 1); a full counter borrows the
    next millisecond. The other 62 bits are random; the system is asked for them by the hundred, since each
    call costs more than the rest of an id.
    """

    def __init__(self) -> None:
        self._last = 0  # milliseconds << 12 | counter
        self._tails: list[str] = []

    def new(self, at: datetime) -> tuple[str, datetime]:
        """An id and the instant that it carries: `at`, or a little later."""
        self._last = max(self._last + 1, to_ms(at) << 12)
        ms, counter = self._last >> 12, self._last & 0xFFF
        if not self._tails:
            self._tails = _random_tails(256)
        return _uuid7_text(ms, counter, self._tails.pop()), from_ms(ms)


def _random_tails(count: int) -> list[str]:
    """What ids end with: the variant and 62 random bits."""
    drawn = secrets.token_bytes(8 * count)
    return [_tail(int.from_bytes(drawn[at : at + 8]) >> 2) for at in range(0, len(drawn), 8)]


def _tail(rand: int) -> str:
    text = f"{(0b10 << 62) | rand:016x}"
    return f"{text[:4]}-{text[4:]}"


def first_id_at_ms(ms: int) -> str:
    """The smallest id that a job created at `ms` can have: `createdAfter` as a range over ids.

    Instants that no id can carry (before 1970, after 10889) are brought to the nearest that one can.
    """
    return _uuid7_text(min(max(ms, 0), (1 << 48) - 1), 0, _tail(0))


def _uuid7_text(ms: int, counter: int, tail: str) -> str:
    head = f"{ms:012x}"
    return f"{head[:8]}-{head[8:]}-7{counter:03x}-{tail}"
