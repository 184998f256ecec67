"""The operator's commands on the secrets that sign webhooks: show and rotate."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field

from ..clock import utc_now
from ..domain.access import LOCAL_OWNER, is_name
from ..domain.audit import OPERATOR, Action, Entry
from ..domain.deliveries import SigningSecret
from ..ports.audit import AuditTrail
from ..ports.outbox import Outbox

LONGEST_OVERLAP_S = timedelta(days=366).total_seconds()


def _owner(name: str) -> str:
    if not is_name(name):
        raise ValueError("an owner's name consists of letters, digits and . _ @ -, and begins with a letter or digit")
    return name


class ShowSecrets(BaseModel):
    """The owner of the secrets."""

    owner: Annotated[str, AfterValidator(_owner)] = LOCAL_OWNER


class RotateSecret(ShowSecrets):
    """The owner, and for how long the old secrets stay valid."""

    overlap_s: float = Field(ge=0, le=LONGEST_OVERLAP_S)


async def show_secrets(outbox: Outbox, audit: AuditTrail, command: ShowSecrets) -> dict[str, Any]:
    """All valid secrets, the current one first; one is created if there is none."""
    await audit.append([Entry(utc_now(), OPERATOR, Action.SHOW_SECRETS, command.owner)])
    return _shown(await outbox.secrets(command.owner, utc_now()))


async def rotate_secret(outbox: Outbox, command: RotateSecret) -> dict[str, Any]:
    """Create a new secret; returns all valid ones, the new one first."""
    return _shown(await outbox.rotate_secret(command.owner, utc_now(), command.overlap_s, OPERATOR))


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
