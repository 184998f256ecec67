"""Room in quotas for resumable uploads, which count before any job has them."""

from typing import Protocol


class Reservation(Protocol):
    """Bytes that count as used, whether or not there is a quota."""

    def release(self) -> None:
        """Count them no longer. May be called twice."""
        ...


class Reservations(Protocol):
    """Makes reservations."""

    def reserve(self, owner: str, key_id: str | None, size_bytes: int, *, checked: bool = True) -> Reservation:
        """Count these bytes as used by the owner and, if there is one, the key. Never blocks.

        Raises `StorageQuotaExceededError`; not if `checked` is false, for what was there before. Reservations are not
        recorded: they last as long as the process.
        """
        ...
