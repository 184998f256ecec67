"""Webhook deliveries, pending and ended, and the secrets that sign them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from ..domain.audit import Actor
from ..domain.deliveries import Delivery, DeliveryFilter, DeliveryPage, Message, SigningSecret, Verdict


@dataclass(frozen=True, slots=True)
class Limits:
    """How many deliveries may be taken at once, and be under way for one owner, and from one owner to one host."""

    at_once: int
    per_owner: int
    per_host: int


@dataclass(frozen=True, slots=True)
class Due:
    """The messages to send now, and when the next one may be due (`None`: not before the bell rings)."""

    messages: Sequence[Message]
    next_at: datetime | None


class Outbox(Protocol):
    """The deliveries to the receivers of webhooks.

    The `JobStore` records a delivery with its final body, in one step with the change that it announces; then the
    `outbox` bell rings. A pending delivery outlives its job, and each is sent at least once. With `by`, a write adds an
    entry to the audit trail in the same step. Writes are atomic and
    durable when they return, and raise `StoreUnavailableError` if nothing was recorded.
    """

    async def take(self, now: datetime, limits: Limits, lease_s: float) -> Due:
        """Lease due deliveries, the longest due first. Each gets a higher `attempts`, which fences off its last holder.

        Nobody else gets them until `record`, or for `lease_s` seconds; a cancelled caller does not shorten that. A
        host whose last attempt failed gets one delivery at a time, after a pause of a second if it did not answer or
        is overloaded. Deliveries for a host or an owner at its limit are skipped without being read.
        """
        ...

    async def record(self, delivery: Delivery, verdict: Verdict, now: datetime) -> None:
        """Record the result of an attempt. A stale attempt changes nothing.

        After a 410 (`GivenUp.gone`), all pending deliveries of that owner to that URL fail, and jobs submitted before
        send it no more, until it accepts a redelivery. Progress is not retried once the job has a newer event. After
        the last attempt, the delivery of a deleted job is deleted too.
        """
        ...

    async def of_job(self, job_id: str, limit: int) -> Sequence[Delivery]:
        """At most `limit` of the job's deliveries, newest first."""
        ...

    async def page(self, caller: str, filter: DeliveryFilter, limit: int, cursor: str | None) -> DeliveryPage:
        """At most `limit` of the deliveries that `caller`, an owner or `EVERY_OWNER`, may see.

        `cursor` is the id of the last one of the page before, or of the last one that it looked at.
        """
        ...

    async def redeliver(self, job_id: str, delivery_id: str, now: datetime, by: Actor | None = None) -> Delivery | None:
        """Make one of the job's deliveries due now, with all attempts left; `None` if there is no such delivery.

        It keeps its id and its body. A delivery that is under way is returned as it is.
        """
        ...

    async def recover(self, now: datetime) -> int:
        """At start: make leased deliveries due, because their sender is gone; returns how many there were.

        What was under way, here or when a lease ends, counts as an attempt but uses up no try.
        Deliveries that were postponed by a clock ahead of this one wait no longer than was intended.
        """
        ...

    async def expire(self, now: datetime, limit: int) -> int:
        """Delete at most `limit` deliveries that ended a week ago, and expired secrets; returns how many deliveries."""
        ...

    async def secrets(self, owner: str, now: datetime) -> Sequence[SigningSecret]:
        """The secrets that sign this owner's deliveries, the current one first.

        The first call creates one; simultaneous first calls all get the same.
        """
        ...

    async def rotate_secret(
        self, owner: str, now: datetime, overlap_s: float, by: Actor | None = None, *, revealed: bool = False
    ) -> Sequence[SigningSecret]:
        """Create a new secret; the older ones sign for `overlap_s` more seconds. Returns all, the new one first.

        `revealed`: its owner is given it now. Raises `TooManySecretsError` if more than `MAX_SECRETS` would sign.
        """
        ...

    async def reveal_secret(self, owner: str, now: datetime, by: Actor | None = None) -> SigningSecret:
        """The current secret, for its owner, who gets it once; one is created if there is none.

        Raises `SecretRevealedError` if they have had it.
        """
        ...
