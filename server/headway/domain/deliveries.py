"""What is said to the receivers of webhooks, as plain data: deliveries, when they are tried again, what signs them.

Pure: no I/O, no clock. Source of the rules: the Standard Webhooks specification, "Operational considerations".
"""

import base64
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple
from urllib.parse import urlsplit


class WebhookEvent(StrEnum):
    """What the receiver of a webhook can be told of a job."""

    STARTED = "job.started"  # at the start of each attempt
    PROGRESS = "job.progress"  # only to who asks for it
    COMPLETED = "job.completed"
    FAILED = "job.failed"
    CANCELLED = "job.cancelled"


DEFAULT_EVENTS = frozenset(WebhookEvent) - {WebhookEvent.PROGRESS}


class Webhook(NamedTuple):
    """Who is told of a job, and of what."""

    url: str
    events: frozenset[WebhookEvent] = DEFAULT_EVENTS

    @property
    def host(self) -> str:
        """The part of the URL that may stand in a log: name and port, no path and no password."""
        return urlsplit(self.url).netloc.rpartition("@")[2]


SECRET_PREFIX = "whsec_"  # noqa: S105 - what a secret begins with, not one
SECRET_BYTES = 32

GONE = 410
SAYS_WHEN = frozenset({429, 503})
"""The statuses whose `Retry-After` counts."""

OVERLOADED = frozenset({429, 502, 503, 504})
"""The statuses of a receiver that is best left alone for a moment."""
REST_S = 1.0
"""How long a host is left alone that did not answer, or is overloaded."""

MINUTE_S, HOUR_S = 60.0, 3600.0


class DeliveryStatus(StrEnum):
    """A delivery's state. The one line says who moves it out of there."""

    PENDING = "pending"  # the sender, with the receiver's answer or when no attempt is left
    DELIVERED = "delivered"  # a client who asks for it again
    FAILED = "failed"  # a client who asks for it again


class Delivery(NamedTuple):
    """One event for one receiver. `id` stays the same over all attempts: the receiver knows it as `webhook-id`.

    `attempts` counts all, `tries` those since it was written or asked for again. `next_attempt_at` is `None` while an
    attempt is under way, and at the end. `host` is what may stand in a log: the URL may hold secrets.
    """

    id: str
    job_id: str
    owner: str
    event: WebhookEvent
    url: str
    host: str
    status: DeliveryStatus
    attempts: int
    tries: int
    created_at: datetime
    next_attempt_at: datetime | None
    last_attempt_at: datetime | None
    delivered_at: datetime | None
    last_status: int | None
    last_error: str | None


class Message(NamedTuple):
    """A delivery that was taken to be sent now, with the bytes that every attempt of it sends."""

    delivery: Delivery
    body: str


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver has it."""

    status: int


@dataclass(frozen=True, slots=True)
class TryAgain:
    """The attempt failed. `error` says why, for the job's owner."""

    at: datetime
    error: str
    status: int | None = None


@dataclass(frozen=True, slots=True)
class GivenUp:
    """The attempt failed, and there will be no other. `gone`: the receiver wants to hear no more of this owner."""

    error: str
    status: int | None = None
    gone: bool = False


def needs_rest(verdict: TryAgain | GivenUp) -> bool:
    """Whether the host should be left alone for a moment: what else waits for it would probably fail too."""
    return verdict.status is None or verdict.status in OVERLOADED


Verdict = Delivered | TryAgain | GivenUp
"""What an attempt came to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When a delivery is tried again, as data: the seconds after each failed attempt."""

    delays_s: tuple[float, ...] = (
        5.0,
        5 * MINUTE_S,
        30 * MINUTE_S,
        *(hours * HOUR_S for hours in (2, 5, 10, 14, 20, 24)),
    )
    progress_delays_s: tuple[float, ...] = (10.0,)
    """Of progress, which is old news soon."""
    jitter: float = 0.1
    """By which part of itself a delay is drawn out at most, so that what failed together does not return together."""
    longest_wait_s: float = 24 * HOUR_S
    """How long a receiver's `Retry-After` is honoured at most."""

    def next_attempt(
        self, delivery: Delivery, failed_at: datetime, luck: float, retry_after_s: float | None = None
    ) -> datetime | None:
        """When to try a failed delivery again; `None`: never. `luck` (0 to 1) draws the jitter.

        The receiver's own wish can put it off, and does not bring it forward.
        """
        delays_s = self.progress_delays_s if delivery.event is WebhookEvent.PROGRESS else self.delays_s
        if delivery.tries > len(delays_s):
            return None
        delay_s = delays_s[delivery.tries - 1] * (1 + self.jitter * luck)
        return failed_at + timedelta(seconds=max(delay_s, min(retry_after_s or 0.0, self.longest_wait_s)))


def judge_answer(
    delivery: Delivery, status: int, retry_after_s: float | None, now: datetime, schedule: Schedule, luck: float
) -> Verdict:
    """What an answer means. A redirect is no success: who moves tells us the new URL."""
    if 200 <= status < 300:  # noqa: PLR2004 - RFC 9110, 15.3
        return Delivered(status)
    error = f"The receiver answered {status}."
    if status == GONE:
        return GivenUp(error, status, gone=True)
    wish_s = retry_after_s if status in SAYS_WHEN else None
    again_at = schedule.next_attempt(delivery, now, luck, wish_s)
    return GivenUp(error, status) if again_at is None else TryAgain(again_at, error, status)


def judge_silence(delivery: Delivery, error: str, now: datetime, schedule: Schedule, luck: float) -> Verdict:
    """What it means that no answer came, for a reason that may pass."""
    again_at = schedule.next_attempt(delivery, now, luck)
    return GivenUp(error) if again_at is None else TryAgain(again_at, error)


class SigningSecret(NamedTuple):
    """What an owner's deliveries are signed with. `expires_at` is `None` for the current one."""

    text: str
    created_at: datetime
    expires_at: datetime | None

    def __repr__(self) -> str:
        """Without the secret, wherever it may be printed."""
        return f"SigningSecret(created_at={self.created_at}, expires_at={self.expires_at})"


def new_secret() -> str:
    """256 random bits, as the specification serialises them."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
