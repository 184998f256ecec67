"""Each request's id: in its answer, and in every line that is logged on its behalf.

An id is made only where somebody reads it: polls are many.
"""

import re
import secrets
import time
from contextvars import ContextVar
from typing import Any

import structlog
from aiohttp import web
from multidict import istr

REQUEST_ID = istr("X-Request-ID")

_PRINTABLE = re.compile(r"[\x20-\x7e]{1,128}")
_PREFIX = secrets.token_hex(4).encode("ascii")
_current: ContextVar[tuple[web.BaseRequest, int] | None] = ContextVar("request", default=None)
"""The request that is being answered, and when that began by `perf_counter_ns`, which is never twice the same."""


def follow(request: web.BaseRequest, began_ns: int) -> None:
    """From here on the log lines of this task, and of those that it starts, have the request's id."""
    _current.set((request, began_ns))


def request_id(request: web.BaseRequest) -> str:
    """What the client calls the request, if that is printable ASCII of at most 128 characters; else a name of ours."""
    return request_id_bytes(request).decode("ascii")


def request_id_bytes(request: web.BaseRequest) -> bytes:
    """The same, as it is sent."""
    # Of a request that was cloned the first one counts. What was refused early is not followed.
    followed, began_ns = _current.get() or (request, time.perf_counter_ns())
    given = followed.headers.get(REQUEST_ID)
    if given is not None and _PRINTABLE.fullmatch(given):
        return given.encode("ascii")
    return b"%s-%x" % (_PREFIX, began_ns)


def add_request_id(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """A structlog processor: the id of the request on whose behalf a line is logged."""
    followed = _current.get()
    if followed is not None:
        event.setdefault("request_id", request_id(followed[0]))
    return event
