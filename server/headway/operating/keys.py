"""What an operator does to API keys: create, list, revoke."""

import secrets
from typing import Any

from pydantic import BaseModel, field_validator

from ..clock import utc_now
from ..domain.access import KEY_PREFIX, ApiKey, digest, is_name, new_token
from ..ports.keys import KeyStore

ID_BYTES = 8


class KeyOrder(BaseModel):
    """A key that is to be made; without `owner` it is its own."""

    name: str
    owner: str | None = None
    read_only: bool = False
    admin: bool = False

    @field_validator("name", "owner")
    @classmethod
    def _is_name(cls, text: str | None) -> str | None:
        if text is not None and not is_name(text):
            raise ValueError(f"{text!r} is no name: use letters, digits, dots, hyphens, underscores and @, at most 64")
        return text


class RevokeOrder(BaseModel):
    """The name of the key that is to be put out of force."""

    name: str


async def create_key(keys: KeyStore, order: KeyOrder) -> dict[str, Any]:
    """The key itself, which nobody can be shown again. Raises `KeyNameTakenError`."""
    token = new_token(KEY_PREFIX)
    key = ApiKey(
        id=secrets.token_hex(ID_BYTES),
        name=order.name,
        owner=order.owner or order.name,
        read_only=order.read_only,
        admin=order.admin,
        created_at=utc_now(),
    )
    await keys.add(key, digest(token))
    return {"key": token, "owner": key.owner}


async def list_keys(keys: KeyStore, _order: BaseModel) -> dict[str, Any]:
    """Every key that there ever was."""
    return {"keys": [_told(key) for key in await keys.all()]}


async def revoke_key(keys: KeyStore, order: RevokeOrder) -> dict[str, Any]:
    """Raises `KeyNotFoundError`."""
    await keys.revoke(order.name, utc_now())
    return {}


def _told(key: ApiKey) -> dict[str, Any]:
    return {
        "name": key.name,
        "owner": key.owner,
        "readOnly": key.read_only,
        "admin": key.admin,
        "createdAt": key.created_at.isoformat(timespec="seconds"),
        "revokedAt": None if key.revoked_at is None else key.revoked_at.isoformat(timespec="seconds"),
    }
