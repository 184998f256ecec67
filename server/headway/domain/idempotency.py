"""Idempotency keys: what makes a repeated submission the job that the first one made."""

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """What makes a repeated submission the first one's. `fingerprint` stands for the whole request.

    A key is `owner`'s who asked with it, which need not be the job's: an admin can repeat the job of another.
    """

    owner: str
    key: str
    fingerprint: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class FirstSubmission:
    """What an idempotency key stands for: the job that was accepted with it, which may be gone, and its request."""

    job_id: str
    fingerprint: str


KEPT = timedelta(hours=24)
