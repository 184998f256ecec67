"""Idempotency keys: a submission that is repeated with its key leads to the job that the first one created.

Source: draft-ietf-httpapi-idempotency-key-header. A key belongs to its owner for 24 hours from its first use; after
that it is free again. Until then it stands for the one job, even if that was purged or has expired meanwhile.
"""

import asyncio
import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from time import perf_counter
from typing import Any

from ..domain.access import Caller
from ..domain.idempotency import FirstSubmission
from ..domain.jobs import Job
from ..errors import JobGoneError, JobNotFoundError, KeyReusedError
from .reading import Reading

SLICE_S = 0.001
"""How long the event loop is kept at a time: half a million numbers take a tenth of a second."""
PIECE = 500
"""Values without others in them that are encoded at once."""


def fingerprint_of(request: Mapping[str, Any]) -> str:
    """A digest that is equal for equal requests, whatever the order of keys and the white space between them."""
    return hashlib.sha256(json.dumps(request, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


async def fingerprint_in_pieces(request: Mapping[str, Any]) -> str:
    """`fingerprint_of` a request that may be large. The event loop goes round meanwhile."""
    digest, began_s = hashlib.sha256(), perf_counter()
    for piece in _pieces(request):
        digest.update(piece.encode())
        if perf_counter() - began_s > SLICE_S:
            await asyncio.sleep(0)
            began_s = perf_counter()
    return digest.hexdigest()


def _pieces(value: Any) -> Iterator[str]:
    """The text of which `fingerprint_of` takes the digest."""
    if isinstance(value, Mapping):
        yield "{"
        for place, name in enumerate(sorted(value)):
            yield f"{',' if place else ''}{json.dumps(name)}:"
            yield from _pieces(value[name])
        yield "}"
    elif isinstance(value, list):
        yield "["
        for start in range(0, len(value), PIECE):
            yield "," if start else ""
            yield from _items(value[start : start + PIECE])
        yield "]"
    else:
        yield json.dumps(value)


def _items(values: list[Any]) -> Iterator[str]:
    if {list, dict}.isdisjoint(map(type, values)):
        yield json.dumps(values, separators=(",", ":"))[1:-1]
        return
    for place, value in enumerate(values):
        yield "," if place else ""
        yield from _pieces(value)


async def first_job(reading: Reading, caller: Caller, first: FirstSubmission, fingerprint: str, now: datetime) -> Job:
    """The job that was accepted with the key, as it is now. Raises `KeyReusedError` and `JobGoneError`."""
    if first.fingerprint != fingerprint:
        raise KeyReusedError("This key was used for another request within the last 24 hours.")
    try:
        return await reading.job(caller, first.job_id, now)
    except JobNotFoundError:
        raise JobGoneError("The job that was submitted with this key was deleted.") from None
