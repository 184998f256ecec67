"""Webhook deliveries that are still to be made, and those that were."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from ..domain.deliveries import Delivery, Message, SigningSecret, Verdict


@dataclass(frozen=True, slots=True)
class Limits:
    """How many deliveries: taken now; under way of one owner, and of one owner to one host, in all processes."""

    at_once: int
    per_owner: int
    per_host: int


@dataclass(frozen=True, slots=True)
class Due:
    """What there is to send now, and when it is worth another look (`None`: not before the bell rings)."""

    messages: Sequence[Message]
    next_at: datetime | None


class Outbox(Protocol):
    """What is still to be said to the receivers of webhooks, and what was said.

    A delivery with its final body is recorded by the `JobStore`, in one step with the change that it tells of; the
    hub's `outbox` bell rings then, and what is pending outlives its job. Each is sent at least once. Writes are atomic
    and durable on return, and raise `StoreUnavailableError` if nothing was recorded.
    """

    async def take(self, now: datetime, limits: Limits, lease_s: float) -> Due:
        """Take due deliveries, the longest due first, each with a grown `attempts` that fences off whoever held it
        before. Until `record`, or for `lease_s` seconds, nobody else gets them.

        A host whose last attempt failed gets one at a time, and a second's rest if it did not answer or is overloaded.
        What waits for a host or an owner at its limit holds up nobody, and is not looked at. If the caller is
        cancelled, what was taken is taken until the lease ends.
        """
        ...

    async def record(self, delivery: Delivery, verdict: Verdict, now: datetime) -> None:
        """Record what an attempt came to; nothing, if it is not the current one.

        After a 410 (`GivenUp.gone`) what waits for that URL of that owner has failed, and jobs that were submitted
        before tell it nothing more, until it takes a delivery of which it was asked again. Progress is not tried
        again once there is something newer to say of the job. With the last attempt ends what is left of a job
        that has been deleted.
        """
        ...

    async def of_job(self, job_id: str, limit: int) -> Sequence[Delivery]:
        """The job's deliveries, at most `limit`, newest first."""
        ...

    async def redeliver(self, job_id: str, delivery_id: str, now: datetime) -> Delivery | None:
        """Make one of the job's deliveries due now, with all attempts before it; `None` if there is no such one.

        Its id and its body stay. One that is under way at the moment stays as it is.
        """
        ...

    async def recover(self, now: datetime) -> int:
        """At start: what a sender that is gone had taken is due at once, and what was put off by a clock that was
        ahead of this one waits no longer than was meant. How many had been taken.
        """
        ...

    async def expire(self, now: datetime, limit: int) -> int:
        """Forget at most `limit` deliveries that ended a week ago, and what else is past its time; how many of them."""
        ...

    async def secrets(self, owner: str, now: datetime) -> Sequence[SigningSecret]:
        """The secrets that sign what is sent for this owner, the current one first. Made when first asked for: of any
        number that ask at once, all get the same.
        """
        ...

    async def rotate_secret(self, owner: str, now: datetime, overlap_s: float) -> Sequence[SigningSecret]:
        """Make a new secret; those before it go on signing for `overlap_s` seconds. All that sign, the new first."""
        ...
