"""Bells: how a room learns that something has changed. A bell carries only an id, and the store holds the truth."""

from collections.abc import Collection
from enum import StrEnum
from typing import Protocol


class Bell(StrEnum):
    """What has happened to a job, an API key or a session."""

    CHANGED = "changed"  # the job's state, progress or log changed, or it was deleted
    QUEUED = "queued"  # the job can be claimed, now or at its `run_at`
    CANCEL = "cancel"  # the job's running attempt should stop
    DELETED = "deleted"  # the job's record is gone, so its files can be deleted
    OUTBOX = "outbox"  # there is a new delivery for the job's webhook
    AUDITED = "audited"  # there are new entries in the audit trail; the id is empty
    REVOKED = (
        "revoked"  # the API key with this id, or the session with this SHA-256, has ended, and its streams with it
    )


class Listener(Protocol):
    """Collects the ids for which a bell has rung. Bells coalesce: it holds a set of ids, never a queue."""

    async def wait(self, timeout_s: float) -> frozenset[str]:
        """The ids that rang since the last call, immediately if there are any.

        The set is empty after `timeout_s` seconds, or when the hub has closed. Cancelling the call loses no bell.
        """
        ...

    def close(self) -> None:
        """Stop listening. It may be called twice."""
        ...


class EventHub(Protocol):
    """Rings bells for listeners in this process and, on a shared record, in all others."""

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        ...

    def ring(self, bell: Bell, job_id: str) -> None:
        """Notify the listeners. Never blocks and never raises."""
        ...

    def ring_all(self, bell: Bell, job_ids: Collection[str]) -> None:
        """`ring` for each of these jobs."""
        ...

    def listen(self, bell: Bell, job_id: str | None = None) -> Listener:
        """Listen from now on, to the bells of one job or of all."""
        ...

    def close(self) -> None:
        """Wake every listener for the last time: the server is stopping."""
        ...
