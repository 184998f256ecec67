"""API keys, sessions and the server's own secret."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from ..domain.access import ApiKey


class KeyStore(Protocol):
    """API keys, the sessions that were opened with them, and the server's own secret. Tokens come as their SHA-256.

    Writes are atomic and durable on return, and raise `StoreUnavailableError` if nothing was recorded. What is asked
    for at each request (`find`, `get`, `find_session`) is answered from memory. A key that was revoked is in force
    nowhere a second later, in other processes on the same record too, and its sessions have ended.
    """

    async def add(self, key: ApiKey, sha256: str) -> None:
        """Record a key. Raises `KeyNameTakenError` if another that is in force has its name."""
        ...

    async def all(self) -> Sequence[ApiKey]:
        """Every key that there ever was, oldest first."""
        ...

    async def revoke(self, name: str, now: datetime) -> None:
        """Put a key out of force for good; the hub's `revoked` bell rings with its id. Raises `KeyNotFoundError`."""
        ...

    async def any_in_force(self) -> bool:
        """Whether there is a key that works."""
        ...

    async def find(self, sha256: str) -> ApiKey | None:
        """The key with this sum, if it is in force."""
        ...

    async def get(self, key_id: str) -> ApiKey | None:
        """The key with this id, if it is in force."""
        ...

    async def open_session(self, sha256: str, key: ApiKey, expires_at: datetime) -> None:
        """From now on the session stands for the key, if that is still in force. A key has so many sessions at most;
        for one more the oldest ends.
        """
        ...

    async def find_session(self, sha256: str, now: datetime) -> ApiKey | None:
        """The key that an open session stands for, if it is in force."""
        ...

    async def end_session(self, sha256: str) -> None:
        """End a session, if there is one."""
        ...

    async def forget_sessions(self, now: datetime, limit: int) -> int:
        """Delete at most `limit` sessions that have expired; how many."""
        ...

    async def secret(self) -> bytes:
        """32 random bytes, the same for ever and in every process on the record."""
        ...
