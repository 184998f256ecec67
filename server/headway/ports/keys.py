"""API keys, sessions, quotas and the server's own secret."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from ..domain.access import ApiKey
from ..domain.audit import Actor
from ..quotas import Quota


class KeyStore(Protocol):
    """API keys, the sessions that were opened with them, and the server's own secret.

    With `by`, a write adds an entry to the audit trail in the same step.

    Tokens are passed as their SHA-256. Writes are atomic and durable when they return, and raise
    `StoreUnavailableError` if nothing was recorded. What every request needs (`find`, `get`, `find_session`) is
    answered from memory. A second after a key was revoked it is valid nowhere, other processes on the same record
    included, and its sessions have ended.
    """

    async def add(self, key: ApiKey, sha256: str, quota: Quota | None = None, by: Actor | None = None) -> None:
        """Record a key, and its own quota if it has one. Raises `KeyNameTakenError` if a valid key has its name."""
        ...

    async def all(self) -> Sequence[ApiKey]:
        """All keys, revoked ones included, oldest first."""
        ...

    async def revoke(self, name: str, now: datetime, by: Actor | None = None) -> None:
        """Revoke a key for good. The `revoked` bell rings with its id. Raises `KeyNotFoundError`."""
        ...

    async def set_quota(self, name: str, quota: Quota | None, by: Actor | None = None) -> None:
        """Give a valid key a quota of its own, or none, from now on. Raises `KeyNotFoundError`."""
        ...

    async def set_owner_quota(self, owner: str, quota: Quota | None, by: Actor | None = None) -> None:
        """Give an owner a quota of their own in place of the server's default; `None`: the default again."""
        ...

    async def any_valid(self) -> bool:
        """Whether there is a valid key."""
        ...

    async def find(self, sha256: str) -> ApiKey | None:
        """The valid key whose token has this SHA-256."""
        ...

    async def get(self, key_id: str) -> ApiKey | None:
        """The valid key with this id."""
        ...

    async def open_session(self, sha256: str, key: ApiKey, expires_at: datetime, by: Actor | None = None) -> None:
        """Open a session that stands for the key, if the key is still valid.

        The number of sessions of a key is limited: one more ends the oldest.
        """
        ...

    async def find_session(self, sha256: str, now: datetime) -> ApiKey | None:
        """The valid key that an open session stands for."""
        ...

    async def end_session(self, sha256: str, by: Actor | None = None) -> None:
        """End a session, if there is one; the hub's `revoked` bell rings with its sum, however a session ends."""
        ...

    async def forget_sessions(self, now: datetime, limit: int) -> int:
        """Delete at most `limit` expired sessions; returns how many."""
        ...

    async def secret(self) -> bytes:
        """32 random bytes, the same in every process on the record and after every restart."""
        ...
