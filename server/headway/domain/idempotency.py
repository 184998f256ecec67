"""Idempotency keys: they make a repeated submission return the job that the first one created."""

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """The key of one request. `fingerprint` identifies the whole request, so that another use of the key is noticed.

    `owner` is the one who sent the key. The job may have another: an admin can retry anybody's job.
    """

    owner: str
    key: str
    fingerprint: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class FirstSubmission:
    """What an idempotency key stands for: the accepted job, which may be gone by now, and its request."""

    job_id: str
    """Empty for a batch."""
    fingerprint: str
    outcomes_json: str | None = None
    """Of a batch: what became of each of its jobs, as it was told the first time."""


KEPT = timedelta(hours=24)
"""How long a key is remembered."""
