"""The header `Idempotency-Key`. What a key means is the service's; this module reads it."""

import re

from aiohttp import web
from multidict import istr

from ..problems import Problem

HEADER = istr("Idempotency-Key")
MAX_KEY_CHARS = 255

_STRING = r'"((?:[ !#-\[\]-~]|\\["\\])*)"'
_NUMBER, _BOOLEAN, _BYTES = r"-?\d{1,15}(?:\.\d{1,3})?", r"\?[01]", ":[A-Za-z0-9+/=]*:"
_WORD = r"[A-Za-z*][\w!#$%&'*+.^`|~:/-]*"
_PARAMETER = f"; *[a-z*][a-z0-9_.*-]*(?:=(?:{_NUMBER}|{_STRING}|{_WORD}|{_BYTES}|{_BOOLEAN}))?"
_KEY = re.compile(f"{_STRING}(?:{_PARAMETER})*", re.ASCII)
"""A string with parameters, which are ignored (RFC 9651, 3.3.3 and 3.1.2)."""
_TOKEN = re.compile(r"[\w!#$%&'*+.^`|~-]+", re.ASCII)
"""The key without quotes, as many SDKs send it: a token of RFC 9110, 5.6.2."""


def given_key(request: web.Request) -> str | None:
    """The request's idempotency key, the same with quotes and without. Raises `Problem` for a malformed one."""
    if HEADER not in request.headers:
        return None
    value = ", ".join(request.headers.getall(HEADER)).strip(" ")
    if _TOKEN.fullmatch(value):
        key = value
    elif found := _KEY.fullmatch(value):
        key = re.sub(r"\\(.)", r"\1", found[1])
    else:
        raise Problem("malformed-request", f'{HEADER} must be a token, or a string in quotes, like "8e03978e-40d5".')
    if not 1 <= len(key) <= MAX_KEY_CHARS:
        raise Problem("malformed-request", f"{HEADER} must have 1 to {MAX_KEY_CHARS} characters.")
    return key
