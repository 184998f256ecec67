"""The signed headers of a delivery: Standard Webhooks 1.0."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from standardwebhooks.webhooks import Webhook

from ..domain.deliveries import SigningSecret


def signed_headers(id: str, body: str, secrets: Iterable[SigningSecret]) -> Mapping[str, str]:
    """One signature for each valid secret, so that receivers can change theirs in time. `id` is the delivery's."""
    now = _wall_clock()
    return {
        "Content-Type": "application/json",
        "webhook-id": id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(Webhook(secret.text).sign(id, now, body) for secret in secrets),
    }


def _wall_clock() -> datetime:
    """What receivers compare the timestamp with. Unlike the server's clock it can go back."""
    return datetime.now(UTC)
