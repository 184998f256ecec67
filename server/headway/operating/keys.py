"""The operator's commands on API keys: create, list, revoke."""

import secrets
from typing import Any

from pydantic import BaseModel, field_validator

from ..authoring.checks import is_type_name
from ..clock import utc_now
from ..domain.access import EVERY_TYPE, KEY_PREFIX, ApiKey, digest, is_name, new_token
from ..domain.audit import OPERATOR
from ..ports.keys import KeyStore
from ..ports.record import RecordKeeper
from ..quotas import NO_QUOTA, Quota
from .quotas import QuotaText, any_limit

ID_BYTES = 8


class CreateKey(BaseModel):
    """The key to create; without `owner` it is named after the key."""

    name: str
    owner: str | None = None
    read_only: bool = False
    admin: bool = False
    works_on: list[str] = []
    quota: QuotaText = NO_QUOTA

    @field_validator("name", "owner")
    @classmethod
    def _is_name(cls, text: str | None) -> str | None:
        if text is not None and not is_name(text):
            raise ValueError(
                f"{text!r} is not a valid name: use at most 64 letters, digits, dots, hyphens, underscores and @"
            )
        return text

    @field_validator("works_on")
    @classmethod
    def _are_types(cls, names: list[str]) -> list[str]:
        for name in names:
            if name != EVERY_TYPE and not is_type_name(name):
                raise ValueError(f"{name!r} is not the name of a job type, nor *, which stands for all")
        return names


class RevokeKey(BaseModel):
    """The name of the key to revoke."""

    name: str


async def create_key(keys: KeyStore, command: CreateKey) -> dict[str, Any]:
    """Returns the key itself, which cannot be shown again. Raises `KeyNameTakenError`."""
    token = new_token(KEY_PREFIX)
    key = ApiKey(
        id=secrets.token_hex(ID_BYTES),
        name=command.name,
        owner=command.owner or command.name,
        read_only=command.read_only,
        admin=command.admin,
        created_at=utc_now(),
        works_on=frozenset(command.works_on),
    )
    await keys.add(key, digest(token), command.quota if any_limit(command.quota) else None, OPERATOR)
    return {"key": token, "owner": key.owner}


async def list_keys(keys: KeyStore, record: RecordKeeper, _command: BaseModel) -> dict[str, Any]:
    """All keys, revoked ones included."""
    return {"keys": [_shown(key, (await record.account_of_key(key.id)).quota) for key in await keys.all()]}


async def revoke_key(keys: KeyStore, command: RevokeKey) -> dict[str, Any]:
    """Raises `KeyNotFoundError`."""
    await keys.revoke(command.name, utc_now(), OPERATOR)
    return {}


def _shown(key: ApiKey, quota: Quota) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "owner": key.owner,
        "readOnly": key.read_only,
        "admin": key.admin,
        "worksOn": sorted(key.works_on),
        "quota": str(quota),
        "createdAt": key.created_at.isoformat(timespec="seconds"),
        "revokedAt": None if key.revoked_at is None else key.revoked_at.isoformat(timespec="seconds"),
    }
