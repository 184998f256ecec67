"""The operator's commands on the secrets that sign webhooks: show, rotate."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field

from ..clock import utc_now
from ..domain.access import LOCAL_OWNER, is_name
from ..domain.deliveries import SigningSecret
from ..ports.outbox import Outbox

LONGEST_OVERLAP_S = timedelta(days=366).total_seconds()


def _owner(name: str) -> str:
    if not is_name(name):
        raise ValueError("an owner's name is made of letters, digits and . _ @ -, and begins with a letter or digit")
    return name


class SecretsOrder(BaseModel):
    """Whose secrets."""

    owner: Annotated[str, AfterValidator(_owner)] = LOCAL_OWNER


class RotateOrder(SecretsOrder):
    """And for how long the old ones go on signing."""

    overlap_s: float = Field(ge=0, le=LONGEST_OVERLAP_S)


async def show_secrets(outbox: Outbox, order: SecretsOrder) -> dict[str, Any]:
    """All that sign, the current one first; it is made if there is none yet."""
    return _shown(await outbox.secrets(order.owner, utc_now()))


async def rotate_secret(outbox: Outbox, order: RotateOrder) -> dict[str, Any]:
    """Make a new one. All that sign, the new one first."""
    return _shown(await outbox.rotate_secret(order.owner, utc_now(), order.overlap_s))


def _shown(secrets: Sequence[SigningSecret]) -> dict[str, Any]:
    return {
        "secrets": [
            {
                "secret": secret.text,
                "until": None if secret.expires_at is None else secret.expires_at.isoformat(timespec="seconds"),
            }
            for secret in secrets
        ]
    }
