"""Bells: how a room learns that something has changed. They carry an id; the store is the truth."""

from enum import StrEnum
from typing import Protocol


class Bell(StrEnum):
    """Why the hub rings. A bell carries only an id, of a job where nothing else is said: the store is the truth."""

    CHANGED = "changed"  # its state, progress or log; or it is gone
    QUEUED = "queued"  # it may be claimed
    CANCEL = "cancel"  # its running attempt should stop
    DELETED = "deleted"  # its record is gone, its files may go
    OUTBOX = "outbox"  # there is something new to say to the receiver of its webhook
    REVOKED = "revoked"  # an API key, by its id: what was opened with it ends


class Listener(Protocol):
    """Hears that something changed since it last looked. Bells coalesce: it holds ids, never a queue."""

    async def wait(self, timeout_s: float) -> frozenset[str]:
        """The ids that rang since the last call, at once if there are any; empty after `timeout_s` seconds,
        or when the hub has closed. Cancelling it loses no bell.
        """
        ...

    def close(self) -> None:
        """Stop listening. May be called twice."""
        ...


class EventHub(Protocol):
    """Rings bells for whoever listens, in this process and, with a shared record, in all of them."""

    @property
    def closed(self) -> bool:
        """Whether `close` was called: listeners end."""
        ...

    def ring(self, bell: Bell, job_id: str) -> None:
        """Tell the listeners. Never blocks, never raises."""
        ...

    def listen(self, bell: Bell, job_id: str | None = None) -> Listener:
        """Listen to one job, or to all; hears what rings from now on."""
        ...

    def close(self) -> None:
        """Wake every listener for the last time."""
        ...
