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


class _Followed:
    """A request, and its start by `perf_counter_ns`, which never returns the same value twice."""

    __slots__ = ("_began_ns", "_id", "_request")

    def __init__(self, request: web.BaseRequest, began_ns: int) -> None:
        self._request = request
        self._began_ns = began_ns
        self._id = b""

    @property
    def id(self) -> bytes:
        if not self._id:
            given = self._request.headers.get(REQUEST_ID)
            if given is not None and _PRINTABLE.fullmatch(given):
                self._id = given.encode("ascii")
            else:
                self._id = b"%s-%x" % (_PREFIX, self._began_ns)
        return self._id


_current: ContextVar[_Followed | None] = ContextVar("request", default=None)


def follow(request: web.BaseRequest, began_ns: int) -> None:
    """From here on the log lines of this task, and of tasks that it starts, have the request's id."""
    _current.set(_Followed(request, began_ns))


def request_id(request: web.BaseRequest) -> str:
    """The client's id if it is printable ASCII of at most 128 characters; otherwise a generated one."""
    return request_id_bytes(request).decode("ascii")


def request_id_bytes(request: web.BaseRequest) -> bytes:
    """The same as bytes."""
    # A clone has its original's id. A request that was refused early is not followed.
    return (_current.get() or _Followed(request, time.perf_counter_ns())).id


def add_request_id(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """A structlog processor that adds the id of the current request."""
    followed = _current.get()
    if followed is not None:
        event.setdefault("request_id", followed.id.decode("ascii"))
    return event
