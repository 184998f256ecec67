"""What can be asked of the sender of webhooks, apart from the deliveries that it finds in the outbox."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Probe:
    """What came of one request to a receiver. `status` is `None` if there was no response; `error` says what failed."""

    id: str
    """What the receiver got as `webhook-id`."""
    url: str
    status: int | None
    error: str | None
    took_s: float


class Prober(Protocol):
    """Sends requests that announce nothing, so that a receiver can be tried out."""

    async def probe(self, owner: str, url: str) -> Probe:
        """Send one request, signed with the owner's secrets. `url` has been checked; its addresses will be.

        Nothing of it is recorded. Raises `TooManyWaitsError` if too many are under way, and `StoreUnavailableError` if
        the secrets cannot be read.
        """
        ...
