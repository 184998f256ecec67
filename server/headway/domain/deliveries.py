"""Webhooks: the events of a job, their deliveries, when a delivery is retried, and the secrets that sign it.

Source of the rules: the Standard Webhooks specification, "Operational considerations".
"""

import base64
import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple
from urllib.parse import urlsplit


class WebhookEvent(StrEnum):
    """The events that a webhook can be sent."""

    STARTED = "job.started"  # at the start of each attempt
    PROGRESS = "job.progress"  # only if asked for
    COMPLETED = "job.completed"
    FAILED = "job.failed"
    CANCELLED = "job.cancelled"


TEST_EVENT = "webhook.test"
"""What a request that tries a receiver out is called. It is no event of a job, and nobody subscribes to it."""

DEFAULT_EVENTS = frozenset(WebhookEvent) - {WebhookEvent.PROGRESS}


class Webhook(NamedTuple):
    """Where a job's events are sent, and which of them."""

    url: str
    events: frozenset[WebhookEvent] = DEFAULT_EVENTS

    @property
    def host(self) -> str:
        """The part of the URL that may be logged: name and port, without path and password."""
        return urlsplit(self.url).netloc.rpartition("@")[2]


SECRET_PREFIX = "whsec_"  # noqa: S105 - the prefix of a secret
SECRET_BYTES = 32
FINGERPRINT_DIGITS = 16
MAX_SECRETS = 5
"""How many secrets of one owner may sign at the same time: each adds a signature to every delivery."""

GONE = 410
SAYS_WHEN = frozenset({429, 503})
"""The statuses whose `Retry-After` is honoured."""

OVERLOADED = frozenset({429, 502, 503, 504})
"""The statuses of a receiver that needs a pause."""
REST_S = 1.0
"""How long a host that did not answer, or is overloaded, is not sent anything."""

MINUTE_S, HOUR_S = 60.0, 3600.0


class DeliveryStatus(StrEnum):
    """A delivery's state. Each says what it means and what moves a delivery out of it."""

    PENDING = "pending"
    """To be sent, now or later. `webhooks.sender` records the receiver's answer, or that no attempt is left."""
    DELIVERED = "delivered"
    """The receiver answered with success. A client's redelivery makes it pending again."""
    FAILED = "failed"
    """No attempt is left, or the receiver is gone. A client's redelivery makes it pending again."""


class Delivery(NamedTuple):
    """One event for one receiver. `id` is the same for all attempts; the receiver sees it as `webhook-id`.

    `attempts` counts all attempts, `tries` those since the delivery was recorded or last requested by a client. One
    whose sender died is an attempt and no try: nothing is known of its outcome, so it says nothing about the receiver.
    `next_attempt_at` is `None` during an attempt and at the end. Log `host`, never the URL: it may hold secrets.
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


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """Which deliveries to list. What is empty does not matter; several values are alternatives."""

    statuses: frozenset[DeliveryStatus] = frozenset()
    events: frozenset[WebhookEvent] = frozenset()
    hosts: frozenset[str] = frozenset()


class DeliveryPage(NamedTuple):
    """Some deliveries, newest first, and the cursor of the next page (`None`: this was the last).

    A page may be short, even empty, and have a next one: how far one page looks is limited.
    """

    deliveries: Sequence[Delivery]
    next_cursor: str | None


class Message(NamedTuple):
    """A delivery to be sent now, with the body that each of its attempts sends."""

    delivery: Delivery
    body: str


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver accepted it."""

    status: int


@dataclass(frozen=True, slots=True)
class TryAgain:
    """The attempt failed, and the next one is `at`. `error` tells the job's owner why."""

    at: datetime
    error: str
    status: int | None = None


@dataclass(frozen=True, slots=True)
class GivenUp:
    """The attempt failed, and there will be no other. `gone`: the receiver wants no more deliveries of this owner."""

    error: str
    status: int | None = None
    gone: bool = False


def needs_rest(verdict: TryAgain | GivenUp) -> bool:
    """Whether the host needs a pause: other deliveries to it would probably fail too."""
    return verdict.status is None or verdict.status in OVERLOADED


Verdict = Delivered | TryAgain | GivenUp
"""The result of an attempt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When a delivery is retried: the seconds to wait after each failed attempt."""

    delays_s: tuple[float, ...] = (
        5.0,
        5 * MINUTE_S,
        30 * MINUTE_S,
        *(hours * HOUR_S for hours in (2, 5, 10, 14, 20, 24)),
    )
    progress_delays_s: tuple[float, ...] = (10.0,)
    """For progress, which is soon out of date."""
    max_jitter: float = 0.1
    """The largest part of itself by which a delay is extended, so that what failed together is not retried together."""
    longest_wait_s: float = 24 * HOUR_S
    """The longest `Retry-After` of a receiver that is honoured."""

    def next_attempt(
        self, delivery: Delivery, failed_at: datetime, jitter: float, retry_after_s: float | None = None
    ) -> datetime | None:
        """When to retry a failed delivery; `None`: never. `jitter` is a random number between 0 and 1.

        `retry_after_s`, the receiver's wish, can postpone the retry but does not bring it forward.
        """
        delays_s = self.progress_delays_s if delivery.event is WebhookEvent.PROGRESS else self.delays_s
        if delivery.tries > len(delays_s):
            return None
        delay_s = delays_s[delivery.tries - 1] * (1 + self.max_jitter * jitter)
        return failed_at + timedelta(seconds=max(delay_s, min(retry_after_s or 0.0, self.longest_wait_s)))


def refusal(status: int) -> str | None:
    """What a receiver's response says is wrong; `None` for a success."""
    return None if 200 <= status < 300 else f"The receiver answered {status}."  # noqa: PLR2004 - RFC 9110, 15.3


def judge_answer(
    delivery: Delivery, status: int, retry_after_s: float | None, now: datetime, schedule: Schedule, jitter: float
) -> Verdict:
    """The verdict on an answer. A redirect is a failure: a receiver that moves has to be given its new URL."""
    error = refusal(status)
    if error is None:
        return Delivered(status)
    if status == GONE:
        return GivenUp(error, status, gone=True)
    wish_s = retry_after_s if status in SAYS_WHEN else None
    again_at = schedule.next_attempt(delivery, now, jitter, wish_s)
    return GivenUp(error, status) if again_at is None else TryAgain(again_at, error, status)


def judge_silence(delivery: Delivery, error: str, now: datetime, schedule: Schedule, jitter: float) -> Verdict:
    """The verdict when no answer came, for a reason that may be temporary."""
    again_at = schedule.next_attempt(delivery, now, jitter)
    return GivenUp(error) if again_at is None else TryAgain(again_at, error)


class SigningSecret(NamedTuple):
    """A secret that signs an owner's deliveries. `expires_at` is `None` for the current one.

    `revealed_at`: when its owner was given it over HTTP, which happens once.
    """

    text: str
    created_at: datetime
    expires_at: datetime | None
    revealed_at: datetime | None = None

    @property
    def fingerprint(self) -> str:
        """What can be shown of it: enough to recognize it, of no use for signing."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:FINGERPRINT_DIGITS]

    def __repr__(self) -> str:
        """Leaves out the secret, wherever this may be printed."""
        return f"SigningSecret(created_at={self.created_at}, expires_at={self.expires_at})"


def new_secret() -> str:
    """256 random bits, as the specification encodes them."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
