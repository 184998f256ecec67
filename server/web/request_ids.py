"""Each request's id: in its answer, and in every line that is logged on its behalf.

An id is made only where somebody reads it: polls are many.
"""

import itertools
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
_PREFIX = f"{secrets.token_hex(4)}-"
_numbers = itertools.count(1)


class _Followed:
    """A request that is being answered, since when, and its name once somebody asked for it."""

    __slots__ = ("name", "request", "started_s")

    def __init__(self, request: web.BaseRequest) -> None:
        self.request = request
        self.name: str | None = None
        self.started_s = time.perf_counter()


_current: ContextVar[_Followed | None] = ContextVar("request", default=None)


def follow(request: web.BaseRequest) -> None:
    """From here on the log lines of this task, and of those that it starts, have the request's id."""
    _current.set(_Followed(request))


def request_id(request: web.BaseRequest) -> str:
    """What the client calls the request, if that is printable ASCII of at most 128 characters; else a name of ours."""
    followed = _followed(request)
    if followed is None:  # refused before anybody followed it
        return _name(request)
    if followed.name is None:
        followed.name = _name(request)
    return followed.name


def taken_s(request: web.BaseRequest) -> float | None:
    """Seconds since the request was followed; `None`: it was refused before, and found no route.

    Not by the loop's clock: uvloop's counts milliseconds.
    """
    followed = _followed(request)
    return None if followed is None else time.perf_counter() - followed.started_s


def _followed(request: web.BaseRequest) -> _Followed | None:
    """What is followed, if it is this request: a connection's task, with its context, serves one after the other.

    Told by the writer, which a request shares with its clones and with no other request.
    """
    followed = _current.get()
    return followed if followed is not None and followed.request.writer is request.writer else None


def _name(request: web.BaseRequest) -> str:
    given = request.headers.get(REQUEST_ID)
    if given is not None and _PRINTABLE.fullmatch(given):
        return given
    return _PREFIX + str(next(_numbers))


def add_request_id(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """A structlog processor: the id of the request on whose behalf a line is logged."""
    followed = _current.get()
    if followed is not None:
        event.setdefault("request_id", request_id(followed.request))
    return event
