"""Idempotency keys: a submission that is repeated with its key leads to the job that the first one created.

Source: draft-ietf-httpapi-idempotency-key-header. A key belongs to its owner for 24 hours from its first use; after
that it is free again. Until then it stands for the one job, even if that was purged or has expired meanwhile.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ..domain.access import Caller
from ..domain.idempotency import FirstSubmission
from ..domain.jobs import Job
from ..errors import JobGoneError, JobNotFoundError, KeyReusedError
from .reading import Reading


def fingerprint_of(request: Mapping[str, Any]) -> str:
    """A digest that is equal for equal requests, whatever the order of keys and the white space between them."""
    return hashlib.sha256(json.dumps(request, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


async def first_job(reading: Reading, caller: Caller, first: FirstSubmission, fingerprint: str, now: datetime) -> Job:
    """The job that was accepted with the key, as it is now. Raises `KeyReusedError` and `JobGoneError`."""
    if first.fingerprint != fingerprint:
        raise KeyReusedError("This key was used for another request within the last 24 hours.")
    try:
        return await reading.job(caller, first.job_id, now)
    except JobNotFoundError:
        raise JobGoneError("The job that was submitted with this key was deleted.") from None
