"""The operator's commands on quotas: set them, show how full they are."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, field_validator

from ..domain.access import is_name
from ..domain.audit import OPERATOR
from ..ports.keys import KeyStore
from ..ports.record import RecordKeeper
from ..quotas import Account, Quota


def _parsed(value: object) -> object:
    return Quota.parse(value) if isinstance(value, str) else value


QuotaText = Annotated[Quota, BeforeValidator(_parsed)]


class SetKeyQuota(BaseModel):
    """A key by its name, and its quota from now on."""

    name: str
    quota: QuotaText


class SetOwnerQuota(BaseModel):
    """An owner, and their quota from now on; `None`: the server's default."""

    owner: str
    quota: QuotaText | None

    @field_validator("owner")
    @classmethod
    def _is_name(cls, text: str) -> str:
        if not is_name(text):
            raise ValueError(f"{text!r} is not a valid name of an owner")
        return text


async def set_key_quota(keys: KeyStore, command: SetKeyQuota) -> dict[str, Any]:
    """Raises `KeyNotFoundError`."""
    await keys.set_quota(command.name, command.quota, OPERATOR)
    return {}


async def set_owner_quota(keys: KeyStore, command: SetOwnerQuota) -> dict[str, Any]:
    """Give an owner, who need not exist yet, a quota."""
    await keys.set_owner_quota(command.owner, command.quota, OPERATOR)
    return {}


async def show_usage(record: RecordKeeper, keys: KeyStore, _command: BaseModel) -> dict[str, Any]:
    """All owners, and the keys that have a quota of their own."""
    accounts = {key: await record.account_of_key(key.id) for key in await keys.all() if key.revoked_at is None}
    return {
        "owners": [_shown(owner, account) for owner, account in (await record.accounts()).items()],
        "keys": [_shown(key.name, account) for key, account in accounts.items() if any_limit(account.quota)],
    }


def any_limit(quota: Quota) -> bool:
    """Whether the quota limits anything."""
    return any(limit is not None for limit in quota)


def _shown(name: str, account: Account) -> dict[str, Any]:
    return {"name": name, "used": account.used._asdict(), "limit": account.quota._asdict()}
