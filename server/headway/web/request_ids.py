"""Request ids: sent in each response, and added to every log line written for the request.

An id is generated only where it is used, because polls are frequent.
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
"""The current request, and its start by `perf_counter_ns`, which never returns the same value twice."""


def follow(request: web.BaseRequest, began_ns: int) -> None:
    """From here on the log lines of this task, and of tasks that it starts, have the request's id."""
    _current.set((request, began_ns))


def request_id(request: web.BaseRequest) -> str:
    """The client's id if it is printable ASCII of at most 128 characters; otherwise a generated one."""
    return request_id_bytes(request).decode("ascii")


def request_id_bytes(request: web.BaseRequest) -> bytes:
    """The same as bytes."""
    # A clone has its original's id. A request that was refused early is not followed.
    followed, began_ns = _current.get() or (request, time.perf_counter_ns())
    given = followed.headers.get(REQUEST_ID)
    if given is not None and _PRINTABLE.fullmatch(given):
        return given.encode("ascii")
    return b"%s-%x" % (_PREFIX, began_ns)


def add_request_id(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """A structlog processor that adds the id of the current request."""
    followed = _current.get()
    if followed is not None:
        event.setdefault("request_id", request_id(followed[0]))
    return event
