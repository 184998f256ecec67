"""`Idempotency-Key`: a submission that is repeated is the job that the first one made.

Source: draft-ietf-httpapi-idempotency-key-header. A key is its owner's for a day from its first use. After that it is
free again; until then the job stays the only one, also if it was purged or has expired meanwhile (410).
"""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from multidict import istr

from ...clock import utc_now
from ...domain.idempotency import KEPT, FirstSubmission, IdempotencyKey
from ...domain.jobs import Job, NewJob
from ...errors import JobNotFoundError
from ..identity.gate import caller
from ..keys import STORE
from ..problems import Problem

HEADER = istr("Idempotency-Key")
MAX_KEY_CHARS = 255

_STRING = r'"((?:[ !#-\[\]-~]|\\["\\])*)"'
_NUMBER, _BOOLEAN, _BYTES = r"-?\d{1,15}(?:\.\d{1,3})?", r"\?[01]", ":[A-Za-z0-9+/=]*:"
_WORD = r"[A-Za-z*][\w!#$%&'*+.^`|~:/-]*"
_PARAMETER = f"; *[a-z*][a-z0-9_.*-]*(?:=(?:{_NUMBER}|{_STRING}|{_WORD}|{_BYTES}|{_BOOLEAN}))?"
_KEY = re.compile(f"{_STRING}(?:{_PARAMETER})*", re.ASCII)
"""A string with parameters, which mean nothing here (RFC 9651, 3.3.3 and 3.1.2)."""


def given_key(request: web.Request) -> str | None:
    """The key that the request carries. Raises `Problem` if the header is no structured-field string."""
    if HEADER not in request.headers:
        return None
    found = _KEY.fullmatch(", ".join(request.headers.getall(HEADER)).strip(" "))
    if found is None:
        raise Problem("malformed-request", f'{HEADER} must be a string in quotes, like "8e03978e-40d5".')
    key = re.sub(r"\\(.)", r"\1", found[1])
    if not 1 <= len(key) <= MAX_KEY_CHARS:
        raise Problem("malformed-request", f"{HEADER} must have 1 to {MAX_KEY_CHARS} characters.")
    return key


async def first_with(request: web.Request, key: str) -> FirstSubmission | None:
    """What the caller's key stands for already."""
    return await request.app[STORE].first_with_key(caller(request).owner, key, utc_now())


def key_for(request: web.Request, key: str, fingerprint: str, new: NewJob) -> IdempotencyKey:
    return IdempotencyKey(caller(request).owner, key, fingerprint, new.created_at + KEPT)


def fingerprint_of(asked: Mapping[str, Any]) -> str:
    """The same for requests that ask for the same; the order of keys and what lies between them do not count."""
    return hashlib.sha256(json.dumps(asked, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


async def first_job(request: web.Request, first: FirstSubmission, fingerprint: str) -> Job:
    """The job that was accepted first, as it is now. Raises `Problem` for another request, or if it is gone."""
    if first.fingerprint != fingerprint:
        raise Problem("idempotency-key-reused", "Another request was made with this key within the last 24 hours.")
    gone = Problem("gone", "The job that was submitted with this key was deleted.")
    try:
        job = await request.app[STORE].get(caller(request).sees, first.job_id)
    except JobNotFoundError:
        raise gone from None
    if job.expires_at is not None and job.expires_at <= utc_now():
        raise gone
    return job
